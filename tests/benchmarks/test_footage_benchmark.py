import numpy as np
import pytest

from reid_dhm.benchmarks.footage import (
    index_clips,
    known_embeddings,
    measure_search,
    measure_tracking,
)
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
