import numpy as np
import pytest

from reid_dhm.benchmarks.footage.pairs import read_boxes
from reid_dhm.benchmarks.footage.rendered import (
    index_clips,
    known_embeddings,
    measure_search,
    measure_tracking,
)
from reid_dhm.benchmarks.people.footage import KnownGallery, ceiling
from reid_dhm.benchmarks.people.size import measure_size
from reid_dhm.gallery.records import TrackletFilter
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.inference.default import DEFAULT_CHECKPOINT
from reid_dhm.inference.embedder import Embedder
from reid_dhm.synthetic.clips import write_clips


@pytest.fixture(scope="module")
def footage(tmp_path_factory):
    folder = tmp_path_factory.mktemp("footage")
    clips = write_clips(folder, num_people=3, pause=3.0, size=(120, 214), seed=2)
    with GalleryStore(folder / "gallery", create=True) as gallery:
        index_clips(gallery, clips, Embedder(DEFAULT_CHECKPOINT))
        yield gallery, clips


def test_tracking_is_judged_against_the_truth(footage):
    gallery, clips = footage
    for clip in clips:
        figures = measure_tracking(gallery, clip)
        camera = TrackletFilter(cameras=[f"camera {clip.camid}"])
        assert figures.tracks == gallery.count(camera) >= 3
        assert 0.6 < figures.idf1 <= 1
        assert 0.6 < figures.recall <= 1
        found = sum(len(gallery.boxes(key)) for key in gallery.keys(camera).tolist())
        assert figures.recall <= found / len(clip.frames)  # no more can be right than were found


def test_search_is_judged_across_cameras(footage):
    gallery, clips = footage
    known = known_embeddings(gallery, clips)
    assert len(known.pids) == gallery.count()
    assert {1, 2, 3} <= set(known.pids)
    result = measure_search(gallery, clips)
    assert result.valid.sum() == (known.pids > 0).sum()
    # By hand: the nearest tracklet but for the person's own before the same camera.
    similarity = known.embeddings @ known.embeddings.T
    same = (known.camids[:, None] == known.camids) & (known.pids[:, None] == known.pids)
    similarity[same] = -np.inf
    right = known.pids[similarity.argmax(axis=1)] == known.pids
    assert result.cmc[1] == pytest.approx(right[known.pids > 0].mean())


def test_people_are_judged_against_the_truth(footage):
    gallery, clips = footage
    known = KnownGallery(gallery, {f"camera {c.camid}": read_boxes(c.truth) for c in clips})
    assert set(known.labels.tolist()) - {-1} == {1, 2, 3}
    best, mixed = ceiling(known), known.figures(np.zeros(len(known.labels), np.int64))
    alone = known.figures(np.arange(len(known.labels)))
    assert (best.precision, best.recall, best.wrong_pairs) == (1, 1, 0)
    assert (mixed.recall, mixed.people, best.true_people) == (1, 1, 3)
    assert 0 < mixed.precision < 1
    assert alone.recall == 0
    assert best.idf1 > max(alone.idf1, mixed.idf1)
    said = known.corrected(np.zeros(len(known.labels), np.int64), 1, 1)
    assert not len(said.must)  # nobody was found twice
    first, second = known.appearances.rows(said.cannot)[0]
    assert known.labels[first] != known.labels[second]


def test_people_are_found_among_many_tracklets():
    figures = measure_size(600, dim=64)
    assert figures.people == 30
    assert min(figures.precision, figures.recall) > 0.9
    assert figures.hour == 300
    assert figures.hour_right > 0.9
    assert figures.seconds > 0
