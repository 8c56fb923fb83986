from contextlib import suppress
from datetime import timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reid_dhm.errors import InputError
from reid_dhm.gallery.records import (
    DETECTION,
    Crop,
    NewTracklet,
    NewVideo,
    TrackletFilter,
    wall_clock,
)
from reid_dhm.gallery.records import TrackletId as Id
from reid_dhm.gallery.store import audit, compaction, deletion, people, statements
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.store.writing import VideoWriter

DIM = 8
NOON = wall_clock("2026-03-01T12:00:00+02:00")


def unit(seed: int) -> np.ndarray:
    row = np.random.default_rng(seed).standard_normal(DIM)
    return (row / np.linalg.norm(row)).astype(np.float16)


def new_tracklet(track: int, start: float = 0.0, end: float = 1.0) -> NewTracklet:
    boxes = np.zeros(3, DETECTION)
    boxes["time"] = [start, (start + end) / 2, end]
    boxes["frame"] = np.round(boxes["time"] * 10) + np.arange(3)
    boxes["box"] = (10, 20, 30.5, 80)
    boxes["score"] = 0.75
    crops = [
        Crop(
            5, 0.5, (10, 20, 30.5, 80), 0.9 - rank / 10, b"\xff\xd8jpeg%d" % track, unit(10 + rank)
        )
        for rank in range(2)
    ]
    return NewTracklet(track, boxes, crops, unit(track))


def add_video(gallery: GalleryStore, number: int = 1, camera: str = "gate", **facts) -> VideoWriter:
    video = NewVideo(f"{number:016x}", f"/footage/{number}.avi", 10.0, 640, 480, **facts)
    return VideoWriter.open(gallery, camera, video)


@pytest.fixture
def gallery(tmp_path):
    with GalleryStore(tmp_path / "gallery", create=True) as gallery:
        gallery.claim_model("a" * 64, DIM, "the model")
        yield gallery


@pytest.fixture
def three(gallery):
    """Tracklets 1 and 2 at the gate at noon, tracklet 1 of another video at the door."""
    writer = add_video(gallery, 1, "gate", start_time=NOON)
    writer.add([new_tracklet(1, 0, 5), new_tracklet(2, 4, 9)])
    writer.finish()
    writer = add_video(gallery, 2, "door")
    writer.add([new_tracklet(1, 100, 101)])
    writer.finish()
    return gallery


GATE1, GATE2, DOOR1 = Id(f"{1:016x}", 1), Id(f"{1:016x}", 2), Id(f"{2:016x}", 1)


def ids(gallery: GalleryStore, where: TrackletFilter | None = None) -> list[Id]:
    return [tracklet.id for tracklet in gallery.tracklets(where)]


def bytes_of(gallery: GalleryStore) -> bytes:
    """All that lies in the folder."""
    return b"".join(
        path.read_bytes() for path in sorted(gallery.folder.rglob("*")) if path.is_file()
    )


def test_a_tracklet_comes_back_as_it_was_written(three):
    found = three.tracklet(GATE2)
    written = new_tracklet(2, 4, 9)
    assert (found.camera, found.source) == ("gate", "/footage/1.avi")
    assert (found.start, found.end, found.num_boxes) == (4, 9, 3)
    assert (found.first_frame, found.last_frame) == (40, 92)
    assert found.start_time == NOON + timedelta(seconds=4)
    assert found.end_time == NOON + timedelta(seconds=9)
    assert found.start_time.utcoffset() == timedelta(hours=2)
    assert (found.frame, found.box, found.person) == (5, (10, 20, 30.5, 80), None)
    assert three.boxes(found.key).tobytes() == written.boxes.tobytes()
    assert three.thumbnail(found.key) == b"\xff\xd8jpeg2"
    for crop, other in zip(three.crops(found.key), written.crops, strict=True):
        assert (crop.frame, crop.time, crop.box, crop.quality) == (5, 0.5, other.box, other.quality)
        np.testing.assert_array_equal(crop.embedding, other.embedding)


def test_a_video_without_a_clock_has_no_wall_clock_times(three):
    found = three.tracklet(DOOR1)
    assert (found.start_time, found.end_time) == (None, None)


def test_ids_are_read_as_they_are_written(three):
    assert str(GATE2) == "0000000000000001-2"
    assert three.tracklet("0000000000000001-2").id == GATE2
    for wrong in ("12", "0000000000000001-", "0000000000000001-x", "-3"):
        with pytest.raises(InputError, match="is not a tracklet id: give it"):
            three.tracklet(wrong)
    with pytest.raises(InputError, match="has no tracklet 0000000000000009-1"):
        three.tracklet("0000000000000009-1")


def test_embeddings_come_in_pages_in_the_order_of_keys(three):
    pages = list(three.pages(limit=2))
    assert [len(page.keys) for page in pages] == [2, 1]
    keys = np.concatenate([page.keys for page in pages])
    np.testing.assert_array_equal(keys, three.keys())
    rows = np.concatenate([page.embeddings for page in pages])
    assert rows.dtype == np.float16
    np.testing.assert_array_equal(rows, [unit(1), unit(2), unit(1)])
    names = {camera.id: camera.name for camera in three.cameras()}
    assert [names[c] for page in pages for c in page.cameras] == ["gate", "gate", "door"]
    np.testing.assert_array_equal(pages[0].starts, [0, 4])
    np.testing.assert_array_equal(pages[0].ends, [5, 9])
    np.testing.assert_allclose(pages[0].start_times - NOON.timestamp(), [0, 4])
    assert np.isnan(pages[1].start_times).all()
    assert np.isnan(pages[1].end_times).all()


def test_an_empty_gallery_has_no_pages(gallery):
    assert list(gallery.pages()) == []
    assert gallery.embeddings().embeddings.shape == (0, DIM)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (TrackletFilter(), [GATE1, GATE2, DOOR1]),
        (TrackletFilter(tracklets=[GATE2, DOOR1]), [GATE2, DOOR1]),
        (TrackletFilter(cameras=["door"]), [DOOR1]),
        (TrackletFilter(cameras=["door", "gate"]), [GATE1, GATE2, DOOR1]),
        (TrackletFilter(videos=[f"{1:016x}"]), [GATE1, GATE2]),
        (TrackletFilter(after=5.5), [GATE2, DOOR1]),
        (TrackletFilter(before=3.0), [GATE1]),
        (TrackletFilter(after=4.5, before=4.8), [GATE1, GATE2]),
        (TrackletFilter(after=NOON + timedelta(seconds=6)), [GATE2]),
        (TrackletFilter(before=NOON + timedelta(seconds=4)), [GATE1, GATE2]),
        (TrackletFilter(cameras=["gate"], tracklets=[DOOR1]), []),
    ],
)
def test_conditions_hold_together(three, where, expected):
    assert ids(three, where) == expected
    assert three.count(where) == len(expected)
    assert len(three.keys(where)) == len(expected)
    assert len(three.embeddings(where).keys) == len(expected)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    spans=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=8),
    after=st.none() | st.integers(0, 100),
    before=st.none() | st.integers(0, 100),
)
def test_a_span_of_time_matches_what_overlaps_it(tmp_path_factory, spans, after, before):
    with GalleryStore(tmp_path_factory.mktemp("gallery"), create=True) as gallery:
        gallery.claim_model("a" * 64, DIM, "the model")
        tracks = [
            new_tracklet(number, start, start + length)
            for number, (start, length) in enumerate(spans, 1)
        ]
        add_video(gallery).add(tracks)
        overlapping = [
            number
            for number, (start, length) in enumerate(spans, 1)
            if (after is None or start + length >= after) and (before is None or start <= before)
        ]
        assert [
            id.track for id in ids(gallery, TrackletFilter(after=after, before=before))
        ] == overlapping


def test_unknown_cameras_and_videos_are_named(three):
    with pytest.raises(InputError, match=r"has no camera 'roof': it has door, gate"):
        three.tracklets(TrackletFilter(cameras=["gate", "roof"]))
    with pytest.raises(InputError, match="has no video 'ffff'"):
        three.keys(TrackletFilter(videos=["ffff"]))


def test_tracklets_by_key_keep_the_order_asked_for(three):
    keys = three.keys().tolist()
    asked = [keys[2], 999, keys[0], keys[2]]
    assert [t.id for t in three.tracklets_by_key(asked)] == [DOOR1, GATE1, DOOR1]


def test_who_is_in_a_frame(three):
    video = f"{1:016x}"
    assert [(t.id, box) for t, box in three.seen_in_frame(video, 40)] == [
        (GATE2, (10, 20, 30.5, 80))
    ]
    assert three.seen_in_frame(video, 41) == []  # between two boxes of both


def test_embeddings_of_another_model_are_refused(three):
    three.claim_model("a" * 64, DIM, "the same")
    for fingerprint, dim in (("b" * 64, DIM), ("a" * 64, DIM + 1)):
        with pytest.raises(InputError, match=r"embeddings of another model \(the model, finger"):
            three.claim_model(fingerprint, dim, "another")
    assert (three.fingerprint, three.dim) == ("a" * 64, DIM)


def test_what_is_deleted_is_gone_from_the_disk(three):
    secrets = [
        b"\xff\xd8jpeg2",
        unit(2).tobytes(),
        new_tracklet(2, 4, 9).boxes.tobytes(),
    ]
    statements.label(three, [GATE2], "Anna Secret")
    three.empty_log()
    assert all(secret in bytes_of(three) for secret in [*secrets, b"Anna Secret"])
    assert deletion.delete(three, TrackletFilter(tracklets=[GATE2])).count == 1
    for secret in [*secrets, b"Anna Secret"]:
        assert secret not in bytes_of(three)
    assert ids(three) == [GATE1, DOOR1]
    assert unit(1).tobytes() in bytes_of(three)


def test_large_images_are_gone_from_the_disk_too(gallery):
    noise = np.random.default_rng(0).bytes(300_000)
    tracklet = new_tracklet(1)
    crop = Crop(5, 0.5, (0, 0, 1, 1), 0.5, noise, unit(0))
    add_video(gallery).add([NewTracklet(1, tracklet.boxes, [crop], tracklet.mean)])
    gallery.empty_log()
    middles = [noise[start : start + 64] for start in range(0, len(noise), 10_000)]
    assert all(part in bytes_of(gallery) for part in middles[:1])
    deletion.delete(gallery, TrackletFilter(before=100.0))
    assert not any(part in bytes_of(gallery) for part in middles)


def test_deleting_leaves_nothing_derived_behind(three):
    three.cache.mkdir()
    (three.cache / "index").write_bytes(b"embeddings")
    deletion.delete(three, TrackletFilter(cameras=["door"]))
    assert not three.cache.exists()


def test_a_deleted_camera_takes_everything_along(three):
    assert deletion.delete(three, TrackletFilter(cameras=["gate"]), whole=True).count == 2
    assert [camera.name for camera in three.cameras()] == ["door"]
    assert [video.hash for video in three.videos()] == [f"{2:016x}"]
    assert ids(three) == [DOOR1]
    with three.reading() as db:
        for table in ("boxes", "embeddings"):
            assert db.execute(f"SELECT count(*) FROM {table}").fetchone() == (1,)
        assert db.execute("SELECT count(*) FROM crops").fetchone() == (2,)


def test_a_deleted_video_can_be_indexed_anew_and_gets_new_keys(three):
    before = int(three.keys().max())
    assert deletion.delete(three, TrackletFilter(videos=[f"{2:016x}"]), whole=True).count == 1
    writer = add_video(three, 2, "door")
    writer.add([new_tracklet(1)])
    assert three.tracklet(DOOR1).key > before


def test_only_what_was_shown_is_deleted(three):
    selected = deletion.select(three, TrackletFilter(cameras=["gate"]))
    add_video(three, 3).add([new_tracklet(1)])
    assert deletion.delete(three, selected).count == 2
    assert ids(three) == [DOOR1, Id(f"{3:016x}", 1)]


def test_a_camera_that_got_people_meanwhile_stays_with_them(three):
    selected = deletion.select(three, TrackletFilter(cameras=["gate"]), whole=True)
    add_video(three, 3).add([new_tracklet(1)])
    done = deletion.delete(three, selected)
    assert (done.count, done.videos, list(done.cameras), list(done.kept)) == (2, 1, [], [])
    assert [camera.name for camera in three.cameras()] == ["door", "gate"]
    assert [video.hash for video in three.videos()] == [f"{2:016x}", f"{3:016x}"]
    assert ids(three) == [DOOR1, Id(f"{3:016x}", 1)]


def test_the_cache_is_emptied_whoever_writes_into_it(three, monkeypatch):
    real = Path.rename

    def rename(self, target):
        done = real(self, target)
        three.cache.mkdir()  # another process writes an index at this very moment
        (three.cache / "index.partial").write_bytes(b"embeddings")
        return done

    three.cache.mkdir()
    (three.cache / "index").write_bytes(b"embeddings")
    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", rename)
        three.empty_cache()
    three.empty_cache()
    three.empty_cache()  # there is none
    assert sorted(path.name for path in three.folder.iterdir()) == ["gallery.sqlite"] + [
        f"gallery.sqlite-{end}" for end in ("shm", "wal")
    ]


def test_a_cache_that_stays_stops_a_deletion_and_the_log_is_cut_all_the_same(three, monkeypatch):
    emptied = iter([None, InputError("cannot be deleted")])

    def empty_cache():
        if error := next(emptied):
            raise error

    monkeypatch.setattr(three, "empty_cache", empty_cache)
    with pytest.raises(InputError, match="cannot be deleted"):
        deletion.delete(three, TrackletFilter(tracklets=[GATE2]))
    assert unit(2).tobytes() not in bytes_of(three)


def test_a_gallery_is_its_owner_s_alone(tmp_path):
    with GalleryStore(tmp_path / "some" / "gallery", create=True) as gallery:
        assert gallery.folder.stat().st_mode & 0o077 == 0
    gallery.folder.chmod(0o750)
    with GalleryStore(gallery.folder, create=True):
        assert gallery.folder.stat().st_mode & 0o777 == 0o750  # as somebody wanted it


@pytest.mark.parametrize("name", ["", " gate", "gate\n", "g\ud800te", "g" * 201])
def test_cameras_have_names_that_can_be_printed(gallery, name):
    with pytest.raises(InputError, match="is not allowed: give 1 to 200 printable"):
        add_video(gallery, 1, name)
    assert gallery.cameras() == []


def test_deleting_needs_a_condition(three):
    with pytest.raises(InputError, match="nothing selects what to delete"):
        deletion.delete(three, TrackletFilter())
    assert three.count() == 3


def test_the_state_tells_what_an_index_lacks(gallery):
    states = [gallery.state()]
    writer = add_video(gallery)
    writer.add([new_tracklet(1)])
    states.append(gallery.state())
    writer.add([new_tracklet(2), new_tracklet(3)])
    states.append(gallery.state())
    deletion.delete(gallery, TrackletFilter(tracklets=[Id(f"{1:016x}", 3)]))
    states.append(gallery.state())
    generations = [state.generation for state in states]
    assert generations == sorted(set(generations))
    assert [state.deletions for state in states] == [0, 0, 0, 1]
    assert [state.tracklets for state in states] == [0, 1, 3, 2]
    assert [state.last_key for state in states] == [0, 1, 3, 2]
    statements.label(gallery, [Id(f"{1:016x}", 1)], "Anna")
    assert gallery.state() == states[-1]  # an index holds no names


def test_a_failed_transaction_leaves_nothing(gallery):
    writer = add_video(gallery)

    def fail() -> None:
        with gallery.writing(changed=True) as db:
            db.execute("DELETE FROM videos")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert len(gallery.videos()) == 1
    assert gallery.state().generation == 0
    writer.add([new_tracklet(1)])


def names(gallery: GalleryStore) -> dict[str | None, int]:
    return {person.name: person.num_tracklets for person in people.people(gallery)}


def test_people_are_labelled_and_joined(three):
    assert statements.label(three, [GATE1, DOOR1], "Anna") == 2
    assert statements.label(three, [GATE1], "Anna") == 0
    assert statements.label(three, [GATE2], "Bert") == 1
    assert names(three) == {"Anna": 2, "Bert": 1}
    assert ids(three, TrackletFilter(person="Anna")) == [GATE1, DOOR1]
    assert statements.label(three, [GATE2], "Anna") == 1
    assert names(three) == {"Anna": 3}
    assert statements.label(three, [GATE1], None) == 1
    assert three.tracklet(GATE1).person == "3"  # somebody without a name
    with pytest.raises(InputError, match="person name ' ' is not allowed"):
        statements.label(three, [GATE1], " ")
    with pytest.raises(InputError, match="has no tracklet"):
        statements.label(three, [GATE2, Id("f" * 16, 1)], "Eve")
    assert names(three) == {"Anna": 2, None: 1}  # all or nothing


def test_the_same_video_is_the_same_row(gallery):
    first = add_video(gallery, start_time=NOON, settings={"stride": 1})
    again = add_video(gallery, start_time=NOON, settings={"stride": 1})
    assert first.video == again.video
    assert len(gallery.videos()) == 1


@pytest.mark.parametrize(
    ("camera", "facts", "message"),
    [
        ("door", {}, "as seen by camera 'gate'"),
        ("gate", {"start_time": NOON}, "starting at None: give the same start, or delete video"),
        ("gate", {"settings": {"stride": 2}}, "indexed with stride None instead of 2"),
    ],
)
def test_the_same_video_in_another_way_is_refused(gallery, camera, facts, message):
    add_video(gallery)
    with pytest.raises(InputError, match=message):
        add_video(gallery, camera=camera, **facts)
    assert [camera.name for camera in gallery.cameras()] == ["gate"]


def test_compacting_gives_room_back_and_loses_nothing(three):
    writer = add_video(three, 3)
    writer.add([new_tracklet(track) for track in range(1, 1000)])
    deletion.delete(three, TrackletFilter(videos=[f"{3:016x}"]), whole=True)
    before = three.path.stat().st_size
    compaction.compact(three)
    assert three.path.stat().st_size < before / 2.5
    assert ids(three) == [GATE1, GATE2, DOOR1]


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc to see open files")
def test_compacting_makes_its_copy_beside_the_gallery(three):
    opened = set()

    def look():
        for descriptor in Path("/proc/self/fd").iterdir():
            with suppress(OSError):
                opened.add(str(descriptor.readlink()))

    crops = [Crop(5, 0.5, (0, 0, 1, 1), 0.5, bytes(1_000_000), unit(0)) for _ in range(20)]
    add_video(three, 3).add([NewTracklet(1, new_tracklet(1).boxes, crops, unit(0))])
    with three.reading() as db:
        db.set_progress_handler(look, 10)
        compaction.compact(three)
        db.set_progress_handler(None, 0)
        assert db.execute("PRAGMA temp_store").fetchone() == (2,)  # in memory, as before
    assert any(path.startswith(f"{three.folder}/etilqs_") for path in opened)


def test_the_newest_entries_come_first_and_may_be_of_a_span(gallery):
    for number in range(3):
        audit.record(gallery, "search", {"number": number})
    assert [entry.detail["number"] for entry in audit.latest(gallery, 2)] == [2, 1]
    moment = audit.entries(gallery)[1].time
    for span, numbers in (
        ({"after": moment}, [2, 1]),
        ({"before": moment.astimezone(timezone(timedelta(hours=5)))}, [1, 0]),
        ({"after": moment, "before": moment}, [1]),
    ):
        assert [entry.detail["number"] for entry in audit.latest(gallery, **span)] == numbers


def test_a_deletion_is_written_down_before_and_after(three, monkeypatch):
    where = TrackletFilter(tracklets=[GATE1, GATE2, DOOR1])
    with monkeypatch.context() as patched:
        patched.setattr(three, "empty_cache", lambda: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            deletion.delete_logged(three, where, {"person": "anna"})
    deletion.delete_logged(three, where, {"person": "anna"}, "token 7")
    assert [(entry.actor == "token 7", entry.detail) for entry in audit.entries(three)] == [
        (False, {"person": "anna", "state": "asked"}),
        (True, {"person": "anna", "state": "asked"}),
        (True, {"person": "anna", "state": "done", "deleted": 3}),
    ]


def test_what_was_done_is_written_down(gallery):
    audit.record(gallery, "search", {"cameras": ["gate"], "when": NOON})
    audit.record(gallery, "delete", {"tracklets": 3}, actor="token 7")
    first, second = audit.entries(gallery)
    assert (first.action, first.detail["cameras"]) == ("search", ["gate"])
    assert first.detail["when"] == str(NOON)
    assert first.actor
    assert (second.actor, second.detail) == ("token 7", {"tracklets": 3})
    assert first.time <= second.time
    assert audit.entries(gallery, after=first.id)[0].id == second.id


def test_wall_clock_times_without_an_offset_are_utc():
    assert wall_clock("2026-03-01T08:30:00Z") == wall_clock("2026-03-01T08:30:00")
    assert wall_clock("2026-03-01T08:30:00").utcoffset() == timedelta(0)
    with pytest.raises(InputError, match="'yesterday' is not an ISO 8601 time"):
        wall_clock("yesterday")


def test_traces_that_a_reader_keeps_are_owned_up_to(three, caplog):
    with three.reading() as db:
        db.execute("PRAGMA busy_timeout = 50")
    with GalleryStore(three.folder) as reader, reader.reading() as db:
        cursor = db.execute("SELECT key FROM tracklets")
        cursor.fetchone()  # a read that is under way holds the log
        deletion.delete(three, TrackletFilter(tracklets=[GATE2]))
        assert "until reid-dhm gallery compact is run" in caplog.text
        cursor.fetchall()
        cursor.close()
    compaction.compact(three)
    assert unit(2).tobytes() not in bytes_of(three)
