import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reid_dhm.errors import InputError, LockedError
from reid_dhm.gallery.index import cache, live_index
from reid_dhm.gallery.index.faiss_index import FaissIndex
from reid_dhm.gallery.index.live_index import LiveIndex
from reid_dhm.gallery.records import State, TrackletFilter
from reid_dhm.gallery.store import deletion, statements
from reid_dhm.gallery.store.gallery import GalleryStore

DIM = 16
KINDS = ["Flat", "IVF1,SQfp16", "HNSW32_SQfp16"]


def vectors(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, DIM))


def unit_queries(count: int, seed: int = 99) -> np.ndarray:
    rows = vectors(count, seed)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def brute_force(gallery: GalleryStore, query: np.ndarray, k: int) -> tuple[list[float], list[int]]:
    """Similarities and keys of the k best, from what the gallery holds; equal ones by key."""
    found = []
    for page in gallery.pages():
        scores = page.embeddings.astype(np.float64) @ query.astype(np.float64)
        found += list(zip((-scores).tolist(), page.keys.tolist(), strict=True))
    found = sorted(found)[:k]
    return [-score for score, _ in found], [key for _, key in found]


def assert_as_brute_force(live: LiveIndex, gallery: GalleryStore, k: int = 8) -> None:
    queries = unit_queries(3)
    similarities, keys = live.search(gallery, queries, k)
    for query, found, names in zip(queries, similarities, keys, strict=True):
        scores, expected = brute_force(gallery, query, k)
        assert names[: len(expected)].tolist() == expected
        assert found[: len(expected)] == pytest.approx(scores, abs=1e-12)
        assert (names[len(expected) :] == -1).all()


@pytest.fixture
def never_filled(monkeypatch) -> Callable[[str], LiveIndex]:
    """Makes an index of a kind that fails instead of being rebuilt."""

    class NeverFilled(FaissIndex):
        def fill(self, pages, count):
            raise AssertionError("the index was rebuilt")

    def make(kind: str = "Flat") -> LiveIndex:
        monkeypatch.setattr(live_index, "FaissIndex", NeverFilled)
        return LiveIndex(kind)

    return make


class TestFollowing:
    @pytest.mark.parametrize("kind", KINDS)
    @settings(
        max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(steps=st.lists(st.sampled_from(["add", "delete", "delete video", "merge"]), max_size=7))
    def test_it_is_as_a_new_one_after_any_changes(self, kind, steps, keep, tmp_path_factory):
        rng = np.random.default_rng(len(steps))
        folder = tmp_path_factory.mktemp("gallery")
        live = LiveIndex(kind)
        with GalleryStore(folder, create=True) as gallery, GalleryStore(folder) as other:
            keep(gallery, vectors(30))
            for number, step in enumerate(steps):
                if step == "add":
                    keep(other, vectors(int(rng.integers(1, 40)), number + 1))
                elif step == "delete video":
                    deletion.delete(
                        other, TrackletFilter(videos=[other.videos()[0].hash]), whole=True
                    )
                else:
                    ids = [t.id for t in other.tracklets()]
                    some = [ids[i] for i in rng.integers(0, len(ids), min(len(ids), 5))]
                    if step == "delete":
                        deletion.delete(other, TrackletFilter(tracklets=some))
                    else:
                        statements.label(other, some, "somebody")
                if not other.state().tracklets:
                    with pytest.raises(InputError, match="holds no tracklets yet"):
                        live.search(gallery, unit_queries(1), 1)
                    keep(other, vectors(3, 50 + number))
                assert_as_brute_force(live, gallery)
            if steps:
                assert_as_brute_force(LiveIndex(kind), gallery)

    def test_an_empty_gallery_is_said_to_be_empty(self, empty):
        with pytest.raises(
            InputError,
            match=r"holds no tracklets yet: index a video into it first .*--camera NAME SOURCE",
        ):
            LiveIndex().search(empty, unit_queries(1), 1)

    def test_equal_embeddings_rank_by_key_however_many_there_are(self, empty, keep):
        rows = np.concatenate([np.repeat(vectors(1, 7), 200, axis=0), vectors(50)])
        keep(empty, rows)
        query = unit_queries(1, 7)
        _, keys = LiveIndex().search(empty, query, 40)
        assert keys[0].tolist() == brute_force(empty, query[0], 40)[1] == list(range(1, 41))

    def test_threads_share_it_while_others_add_and_delete(self, empty, keep):
        keep(empty, vectors(60))
        live = LiveIndex()
        protected = {int(key) for key in empty.keys()[:10]}
        wanted = TrackletFilter(tracklets=[t.id for t in empty.tracklets(limit=10)])

        def search(seed: int) -> None:
            with GalleryStore(empty.folder) as own:
                for turn in range(6):
                    _, keys = live.search(own, unit_queries(1, seed * 10 + turn), 10, wanted)
                    assert set(keys[0].tolist()) == protected

        def change() -> None:
            with GalleryStore(empty.folder) as own:
                for turn in range(4):
                    keep(own, vectors(20, turn + 5))
                    ids = [t.id for t in own.tracklets(after=max(protected), limit=15)]
                    deletion.delete(own, TrackletFilter(tracklets=ids))

        with ThreadPoolExecutor(4) as pool:
            for work in [pool.submit(change), *(pool.submit(search, n) for n in range(3))]:
                work.result()
        assert_as_brute_force(live, empty)


def test_where_few_are_wanted_one_search_tells_them(empty, keep, monkeypatch):
    keep(empty, vectors(500))
    keep(empty, vectors(3, 1), "door")
    asked = []
    real = FaissIndex.search
    monkeypatch.setattr(
        FaissIndex, "search", lambda self, q, k, w: asked.append(k) or real(self, q, k, w)
    )
    _, keys = LiveIndex().search(empty, unit_queries(1), 10, TrackletFilter(cameras=["door"]))
    assert (keys >= 0).sum() == 3
    assert len(asked) == 1


class TestCache:
    @pytest.mark.parametrize("kind", KINDS)
    def test_an_index_is_kept_and_used_again(self, kind, empty, keep, never_filled):
        keep(empty, vectors(40))
        LiveIndex(kind).search(empty, unit_queries(1), 1)
        assert_as_brute_force(never_filled(kind), empty)

    def test_what_is_new_since_is_added_to_a_kept_one(self, empty, keep, never_filled):
        keep(empty, vectors(40))
        LiveIndex().search(empty, unit_queries(1), 1)
        keep(empty, vectors(30, 1))
        assert_as_brute_force(never_filled(), empty, 70)

    def test_kinds_are_kept_side_by_side(self, empty, keep, never_filled):
        keep(empty, vectors(40))
        for kind in KINDS:
            LiveIndex(kind).search(empty, unit_queries(1), 1)
        for kind in KINDS:
            assert_as_brute_force(never_filled(kind), empty)

    @pytest.mark.parametrize("harm", ["flip", "cut", "empty", "foreign", "folder"])
    def test_a_damaged_one_is_made_anew(self, harm, empty, keep, caplog):
        keep(empty, vectors(40))
        LiveIndex().search(empty, unit_queries(1), 1)
        path = cache.path_of(empty, "Flat")
        content = bytearray(path.read_bytes())
        if harm == "flip":
            content[len(content) // 2] ^= 1
        elif harm == "cut":
            del content[len(content) // 2 :]
        elif harm == "empty":
            content.clear()
        elif harm == "foreign":
            content[:] = b"GIF89a" * 100
        path.unlink()
        if harm == "folder":
            path.mkdir()
        else:
            path.write_bytes(content)
        with caplog.at_level(logging.WARNING):
            assert_as_brute_force(LiveIndex(), empty)
        assert f"{path} " in caplog.text

    @pytest.mark.parametrize("added", [0, 9, 10, 20])
    def test_an_older_copy_that_went_on_alone_gets_its_own(self, empty, keep, added):
        keep(empty, vectors(40))
        empty.empty_log()
        copy = empty.path.read_bytes()
        keep(empty, vectors(10, 1))
        LiveIndex().search(empty, unit_queries(1), 1)
        empty.close()
        empty.path.write_bytes(copy)
        with GalleryStore(empty.folder) as restored:
            keep(restored, vectors(added, 2))
            assert_as_brute_force(LiveIndex(), restored)

    def test_one_of_another_release_is_made_anew(self, empty, keep, monkeypatch, never_filled):
        keep(empty, vectors(40))
        monkeypatch.setattr(cache, "_FORMAT", 0)
        LiveIndex().search(empty, unit_queries(1), 1)
        monkeypatch.undo()
        with pytest.raises(AssertionError, match="rebuilt"):
            never_filled().search(empty, unit_queries(1), 1)
        monkeypatch.undo()
        assert_as_brute_force(LiveIndex(), empty)

    def test_a_deletion_while_it_is_written_leaves_nothing_behind(self, empty, keep, monkeypatch):
        keep(empty, vectors(40))

        class Overtaken(FaissIndex):
            def save(self, file):
                super().save(file)
                with GalleryStore(empty.folder) as other:
                    deletion.delete(other, TrackletFilter(tracklets=[other.tracklets()[0].id]))

        monkeypatch.setattr(live_index, "FaissIndex", Overtaken)
        LiveIndex().search(empty, unit_queries(1), 1)
        assert not empty.cache.exists() or not list(empty.cache.iterdir())

    def test_a_deletion_just_before_it_takes_its_place_is_noticed_after(
        self, empty, keep, monkeypatch
    ):
        keep(empty, vectors(40))
        index, known = FaissIndex(DIM), empty.state()
        index.fill(empty.pages, 40)
        looked = []

        def state() -> State:
            looked.append(GalleryStore.state(empty))
            if len(looked) == 1:
                # All of a deletion comes between the last look and the file's taking its place.
                partial = next(empty.cache.glob("*.partial"))
                content = partial.read_bytes()
                deletion.delete(empty, TrackletFilter(tracklets=[empty.tracklets()[0].id]))
                empty.cache.mkdir()
                partial.write_bytes(content)
            return looked[-1]

        monkeypatch.setattr(empty, "state", state)
        assert not cache.save(empty, index, known)
        assert looked[0].deletions == known.deletions < looked[1].deletions
        assert not list(empty.cache.iterdir())

    def test_what_killed_processes_left_is_swept_away(self, empty, keep):
        keep(empty, vectors(40))
        empty.cache.mkdir()
        old, new = empty.cache / "Flat.index.1.partial", empty.cache / "Flat.index.2.partial"
        for path in (old, new):
            path.write_bytes(b"half")
        os.utime(old, (0, 0))
        LiveIndex().search(empty, unit_queries(1), 1)
        assert not old.exists()
        assert new.exists()  # of a process that is still writing

    def test_a_cache_that_cannot_be_written_is_no_failure(self, empty, keep, caplog):
        keep(empty, vectors(40))
        empty.cache.write_text("no folder")
        with caplog.at_level(logging.WARNING):
            assert_as_brute_force(LiveIndex(), empty)
        assert "cannot be saved" in caplog.text

    def test_after_a_deletion_a_trained_index_is_saved_again(self, empty, keep, never_filled):
        keep(empty, vectors(200))
        live = LiveIndex("IVF4,SQfp16")
        live.search(empty, unit_queries(1), 1)
        deletion.delete(empty, TrackletFilter(tracklets=[empty.tracklets()[0].id]))
        live.search(empty, unit_queries(1), 1)
        assert_as_brute_force(never_filled("IVF4,SQfp16"), empty)

    def test_an_exact_one_is_written_again_after_several_deletions(self, empty, keep):
        keep(empty, vectors(200))
        live = LiveIndex()
        path = cache.path_of(empty, "Flat")
        written = []
        for found in empty.tracklets()[:11]:
            live.search(empty, unit_queries(1), 1)
            written.append(path.exists())
            deletion.delete(empty, TrackletFilter(tracklets=[found.id]))
        assert written == [True] + 9 * [False] + [True]  # when a twentieth is gone
        assert_as_brute_force(live, empty)

    def test_a_few_additions_are_not_worth_writing_it_again(self, empty, keep):
        keep(empty, vectors(200))
        live = LiveIndex()
        live.search(empty, unit_queries(1), 1)
        path = cache.path_of(empty, "Flat")
        before = path.stat().st_mtime_ns
        keep(empty, vectors(5, 1))
        assert_as_brute_force(live, empty)
        assert path.stat().st_mtime_ns == before
        keep(empty, vectors(50, 2))
        live.search(empty, unit_queries(1), 1)
        assert path.stat().st_mtime_ns > before


def test_a_locked_gallery_is_not_a_damaged_index(empty, keep, monkeypatch, caplog):
    """The kept index stays, and the caller learns that trying again helps."""
    keep(empty, vectors(50))
    LiveIndex().opened(empty)
    (kept,) = empty.cache.glob("*.index")
    content = kept.read_bytes()

    def locked(*_: object, **__: object) -> None:
        raise LockedError(f"{empty.path}: locked by another process")

    with monkeypatch.context() as patched:
        patched.setattr(empty, "embeddings", locked)
        with pytest.raises(LockedError):
            LiveIndex().opened(empty)
    assert caplog.text == ""
    assert kept.read_bytes() == content
    assert len(LiveIndex().opened(empty)) == 50


@pytest.mark.parametrize("kind", ["Flat", "IVF4,Flat", "HNSW32_SQfp16", "IVF1,SQfp16"])
def test_a_gallery_of_four_is_searched_with_every_kind(empty, keep, kind):
    keep(empty, vectors(4))
    assert_as_brute_force(LiveIndex(kind), empty, k=1)


def test_a_gallery_of_four_is_too_small_for_two_thousand_lists(empty, keep):
    keep(empty, vectors(4))
    with pytest.raises(InputError, match="cannot be trained on 4 tracklets: use Flat"):
        LiveIndex("IVF2048,PQ8x4fs").opened(empty)


def test_the_hour_that_a_clock_shows_twice_is_told_apart(empty, keep):
    """Daylight saving ends: 02:30 is shown at +02:00 and an hour later at +01:00."""
    summer = datetime.fromisoformat("2026-10-25T02:30:00+02:00")
    winter = datetime.fromisoformat("2026-10-25T02:30:00+01:00")
    keep(empty, vectors(2), "summer", start_time=summer)
    keep(empty, vectors(2, 1), "winter", start_time=winter)
    for where, keys in (
        (TrackletFilter(after=winter), {3, 4}),
        (TrackletFilter(before=summer + timedelta(minutes=30)), {1, 2}),
    ):
        assert {found.key for found in empty.tracklets(where)} == keys
        _, found = LiveIndex().search(empty, unit_queries(1), 4, where)
        assert set(found[found >= 0].tolist()) == keys
    assert [video.start_time.isoformat() for video in empty.videos()] == [
        "2026-10-25T02:30:00+02:00",
        "2026-10-25T02:30:00+01:00",
    ]
