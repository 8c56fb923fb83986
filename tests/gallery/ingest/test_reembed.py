"""A gallery moves to another model: all of it or nothing, whatever happens on the way."""

import importlib.util
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from reid_dhm.errors import InputError, ModelMismatchError, StorageError
from reid_dhm.evaluation.calibration import Calibration
from reid_dhm.evaluation.thresholds import Thresholds
from reid_dhm.gallery.footage.sources import open_source
from reid_dhm.gallery.ingest import reembed as reembedding
from reid_dhm.gallery.ingest.reembed import reembed
from reid_dhm.gallery.records import TrackletFilter
from reid_dhm.gallery.search.searcher import Searcher
from reid_dhm.gallery.store import audit, deletion
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.store.integrity import check_integrity


def _beside(name: str):
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


kills = _beside("test_kills")


class Stopped(RuntimeError):
    """Stands for whatever ends a process."""


@pytest.fixture(autouse=True)
def one_by_one(monkeypatch):
    """A commit for every tracklet."""
    monkeypatch.setattr(reembedding, "_TRACKLETS", 1)


@pytest.fixture(scope="module")
def anew(tmp_path_factory, clips, index, halves) -> Path:
    """What indexing with the other model gives."""
    folder = tmp_path_factory.mktemp("anew") / "gallery"
    with GalleryStore(folder, create=True) as gallery:
        for clip in clips:
            index(gallery, clip.path, f"camera {clip.camid}", embed=halves)
    return folder


def assert_like(gallery: GalleryStore, folder: Path) -> None:
    with GalleryStore(folder) as expected:
        assert gallery.fingerprint == expected.fingerprint
        kills.assert_same(gallery, expected)
    assert list(check_integrity(gallery)) == []


def stop_at(done: int):
    def report(count: int, total: int) -> None:
        if count >= done:
            raise Stopped

    return report


def staged(gallery: GalleryStore) -> int:
    with gallery.reading() as db:
        return db.execute("SELECT count(*) FROM new_means").fetchone()[0]


def test_embeddings_are_those_of_indexing_anew(indexed, halves, anew):
    seen = []
    count = indexed.count()
    assert reembed(indexed, halves, "halves", lambda *done: seen.append(done)) == count
    assert seen == [(done, count) for done in range(1, count + 1)]
    assert_like(indexed, anew)
    assert reembed(indexed, halves, "halves") == 0
    assert staged(indexed) == 0


def test_readers_see_the_old_embeddings_until_all_new_ones_are_there(indexed, halves):
    query = np.concatenate([page.embeddings for page in indexed.pages()])[:1]
    with GalleryStore(indexed.folder) as reading:
        searcher = Searcher(reading)
        before = [(c.tracklet.id, c.similarity) for c in searcher.search(query, 3)]
        tracklets = []

        def report(done: int, total: int) -> None:
            found = [(c.tracklet.id, c.similarity) for c in searcher.search(query, 3)]
            tracklets.append(done)
            assert found == before

        reembed(indexed, halves, "halves", report)
        assert tracklets
        with pytest.raises(ModelMismatchError, match="another model"):
            searcher.search(query, 3)
        after = Searcher(reading, searcher.index)  # the index of before follows
        other = np.concatenate([page.embeddings for page in reading.pages()])[:1]
        best = after.search(other, 1)[0]
        assert best.tracklet.id == before[0][0]
        assert best.similarity == pytest.approx(1, abs=1e-3)
        assert len(other[0]) == halves.dim != len(query[0])


def test_queries_of_the_old_model_are_never_compared_with_the_new(indexed, embed):
    class Turned:
        """As long as the old model's embeddings, so that only the fingerprint tells them apart."""

        fingerprint, dim = "fade" * 16, indexed.dim

        def __call__(self, images):
            return embed(images)[:, ::-1].copy()

    query = indexed.embeddings().embeddings[:1]
    searcher = Searcher(indexed)
    searcher.search(query, 1)
    reembed(indexed, Turned(), "turned")
    with pytest.raises(ModelMismatchError):
        searcher.search(query, 1)
    found = Searcher(indexed, searcher.index).search(query[:, ::-1].copy(), 1)[0]
    assert found.similarity == pytest.approx(1, abs=1e-3)


def test_a_run_that_ended_is_continued(indexed, halves, anew):
    embedded = []

    class Counting(type(halves)):
        def __call__(self, images):
            embedded.append(len(images))
            return super().__call__(images)

    with pytest.raises(Stopped):
        reembed(indexed, Counting(), "halves", stop_at(2))
    assert staged(indexed) == 2
    assert list(check_integrity(indexed)) == []
    reembed(indexed, Counting(), "halves")
    assert len(embedded) == indexed.count()  # none twice
    assert_like(indexed, anew)


def test_what_was_begun_with_another_model_is_discarded(indexed, halves, embed, anew):
    class Other(type(halves)):
        fingerprint, dim = "fade" * 16, 18

        def __call__(self, images):
            return embed(images)

    with pytest.raises(Stopped):
        reembed(indexed, Other(), "other", stop_at(2))
    reembed(indexed, halves, "halves")
    assert_like(indexed, anew)


def test_two_models_at_once_do_not_mix(indexed, halves, embed):
    class Other(type(halves)):
        fingerprint = "fade" * 16

    def meanwhile(done: int, total: int) -> None:
        if done == 1:
            with GalleryStore(indexed.folder) as again, pytest.raises(Stopped):
                reembed(again, Other(), "other", stop_at(1))

    with pytest.raises(ModelMismatchError, match="another process embeds"):
        reembed(indexed, halves, "halves", meanwhile)


def test_kills_do_not_show(tmp_path, indexed, anew, halves):
    worker = kills.Indexer()
    try:
        begin = time.perf_counter()
        shutil.copytree(indexed.folder, tmp_path / "whole")
        assert worker.run(tmp_path / "whole")
        seconds = time.perf_counter() - begin
        rng, killed, begun, number = np.random.default_rng(0), 0, 0, 0
        while killed < 5 or not begun:  # some kills must have left a part behind
            assert killed < 60
            folder = tmp_path / f"killed{number}"
            number += 1
            shutil.copytree(indexed.folder, folder)
            while not worker.run(folder, rng.uniform(0, 1) * seconds):
                killed += 1
                with GalleryStore(folder) as gallery:
                    assert list(check_integrity(gallery)) == []
                    assert gallery.fingerprint in (indexed.fingerprint, halves.fingerprint)
                    begun += staged(gallery) > 0
            with GalleryStore(folder) as gallery:
                assert_like(gallery, anew)
    finally:
        worker.close()


def test_a_person_deleted_meanwhile_stays_deleted(indexed, halves):
    gone = indexed.tracklets()[0].id

    def report(done: int, total: int) -> None:
        if done == 2:
            deletion.delete(indexed, TrackletFilter(tracklets=[gone]))

    count = indexed.count()
    assert reembed(indexed, halves, "halves", report) == count - 1
    assert gone not in [tracklet.id for tracklet in indexed.tracklets()]
    assert list(check_integrity(indexed)) == []


def test_an_unfinished_video_continues_with_the_new_model_alone(
    tmp_path, clips, index, halves, anew
):
    with GalleryStore(tmp_path / "gallery", create=True) as gallery:
        source = open_source(str(clips[0].path))
        frames = source.frames

        def moved_meanwhile(span):
            for frame in frames(span):
                if frame.number == 60:
                    with GalleryStore(gallery.folder) as other:
                        reembed(other, halves, "halves")
                yield frame

        source.frames = moved_meanwhile
        with pytest.raises(ModelMismatchError, match=r"another model \(halves"):
            index(gallery, clips[0].path, f"camera {clips[0].camid}", source=source)
        assert gallery.videos()[0].position > 0
        with pytest.raises(ModelMismatchError):
            index(gallery, clips[0].path, f"camera {clips[0].camid}")
        for clip in clips:
            index(gallery, clip.path, f"camera {clip.camid}", embed=halves)
        assert_like(gallery, anew)


def test_old_thresholds_go_and_the_audit_log_says_so(indexed, halves):
    with indexed.writing() as db:
        db.execute("UPDATE gallery SET thresholds = '{}'")
    before = indexed.fingerprint
    reembed(indexed, halves, "halves", actor="anna")
    with indexed.reading() as db:
        assert db.execute("SELECT thresholds FROM gallery").fetchone() == (None,)
    entry = audit.latest(indexed, 1)[0]
    assert (entry.actor, entry.action) == ("anna", "reembed")
    assert entry.detail["from"]["fingerprint"] == before
    assert entry.detail["to"] == {"model": "halves", "fingerprint": halves.fingerprint}
    stale = Thresholds("cosine", "made up", before, 1, 1, (), Calibration(1, 0, 0.5))
    with pytest.raises(ModelMismatchError):
        Searcher(indexed, thresholds=stale)


def test_a_gallery_without_embeddings_cannot_move(empty, halves):
    with pytest.raises(InputError, match="no embeddings yet: index a video into it"):
        reembed(empty, halves, "halves")


def test_a_tracklet_without_images_is_one_sentence_and_no_endless_loop(indexed, halves):
    with indexed.writing() as db:
        db.execute("DELETE FROM crops WHERE tracklet = 1")
    with pytest.raises(StorageError, match="the tracklet with key 1 has no crops"):
        reembed(indexed, halves, "halves")
