"""Indexing synthetic footage from end to end."""

import itertools
import math
import threading
import time
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from reid_dhm.errors import InputError, LockedError, NotFoundError
from reid_dhm.gallery.footage.frames import Frame, SourceInfo, Span
from reid_dhm.gallery.footage.sources import open_source
from reid_dhm.gallery.ingest import indexing
from reid_dhm.gallery.ingest import ingest as ingesting
from reid_dhm.gallery.ingest.options import IndexingOptions
from reid_dhm.gallery.ingest.pipeline import Prefetched, Stage
from reid_dhm.gallery.records import DETECTION, Crop, NewVideo, TrackletFilter, wall_clock
from reid_dhm.gallery.store import deletion, statements
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.store.integrity import check_integrity
from reid_dhm.gallery.store.writing import VideoWriter
from reid_dhm.gallery.track.crops import BestCrops, encode_jpeg
from reid_dhm.gallery.track.settings import TrackSettings
from reid_dhm.gallery.track.tracklets import Track


@pytest.fixture
def gallery(tmp_path):
    with GalleryStore(tmp_path / "gallery", create=True) as gallery:
        yield gallery


def content(gallery: GalleryStore) -> list[tuple]:
    """All that must not depend on interruptions: ids, boxes, times, images, embeddings."""
    return [
        (
            *(found.id, found.camera, found.start, found.end, found.frame, found.box),
            gallery.boxes(found.key).tobytes(),
            [(c.frame, c.quality, c.jpeg, c.embedding.tobytes()) for c in gallery.crops(found.key)],
        )
        for found in gallery.tracklets()
    ]


def test_everybody_who_walked_by_is_in_the_gallery(indexed, clips):
    for clip in clips:
        where = TrackletFilter(cameras=[f"camera {clip.camid}"])
        boxes = np.concatenate([indexed.boxes(key) for key in indexed.keys(where).tolist()])
        for pid in (1, 2):
            own = clip.pids == pid
            truth = dict(zip(clip.frames[own].tolist(), clip.boxes[own], strict=True))
            hits = {
                int(box["frame"])
                for box in boxes
                if int(box["frame"]) in truth
                and overlap(box["box"], truth[int(box["frame"])]) > 0.5
            }
            assert len(hits) > 0.6 * len(truth)


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union."""
    shared = np.prod(np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0))
    return float(shared / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared))


def test_one_person_is_found_before_the_other_camera(indexed, clips):
    """Of both people before both cameras, those most alike in all are the same."""

    def pid_of(clip, boxes: np.ndarray) -> int:
        middle = boxes[len(boxes) // 2]
        rows = np.flatnonzero(clip.frames == middle["frame"])
        return int(clip.pids[max(rows, key=lambda row: overlap(middle["box"], clip.boxes[row]))])

    pages = {}
    for clip in clips:
        where = TrackletFilter(cameras=[f"camera {clip.camid}"])
        page = indexed.embeddings(where)
        whole = [row for row, key in enumerate(page.keys) if len(indexed.boxes(int(key))) > 10]
        pids = [pid_of(clip, indexed.boxes(int(page.keys[row]))) for row in whole]
        pages[clip.camid] = page.embeddings[whole].astype(np.float32), np.array(pids)
    (first, pids), (second, others) = pages[1], pages[2]
    assert set(pids) == set(others) == {1, 2}
    rows, columns = linear_sum_assignment(-first @ second.T)
    np.testing.assert_array_equal(others[columns], pids[rows])


def test_a_video_is_told_as_it_is(gallery, clips, index):
    start = wall_clock("2026-03-01T08:00:00+01:00")
    summary = index(gallery, clips[0].path, start=start)
    (video,) = gallery.videos()
    count = int(cv2.VideoCapture(str(clips[0].path)).get(cv2.CAP_PROP_FRAME_COUNT))
    assert (video.hash, video.camera, video.source) == (
        *(summary.videos[0], "gate"),
        str(clips[0].path),
    )
    assert (video.num_frames, video.position, video.complete) == (count, count, True)
    assert (summary.frames, summary.tracklets) == (count, gallery.count())
    assert (video.width, video.height, video.fps) == (214, 120, 10)
    first = gallery.tracklets()[0]
    assert (first.start_time - start).total_seconds() == pytest.approx(first.start)
    stages = {stage.name: stage for stage in summary.stages}
    assert stages["decode"].count == stages["detect"].count == stages["store"].count == count
    assert stages["embed"].count == sum(len(gallery.crops(key)) for key in gallery.keys().tolist())
    assert all(stage.seconds > 0 and stage.rate > 0 for stage in summary.stages)


def test_the_same_video_twice_adds_nothing(gallery, clips, index):
    index(gallery, clips[0].path)
    before, state = content(gallery), gallery.state()
    summary = index(gallery, clips[0].path)
    assert (summary.known, summary.frames, summary.tracklets) == (True, 0, 0)
    assert (content(gallery), gallery.state()) == (before, state)


def test_of_two_that_start_at_once_the_second_gives_way(gallery, clips, index, monkeypatch):
    counting = ingesting._total_frames

    def overtaken(*arguments):
        monkeypatch.setattr(ingesting, "_total_frames", counting)
        with GalleryStore(gallery.folder) as other:
            index(other, clips[0].path)
        return counting(*arguments)

    monkeypatch.setattr(ingesting, "_total_frames", overtaken)
    with pytest.raises(LockedError, match="is being indexed by another process"):
        index(gallery, clips[0].path)
    assert not list(check_integrity(gallery))


def test_another_way_of_indexing_the_same_video_is_refused(gallery, clips, index):
    index(gallery, clips[0].path)
    for options, message in (
        ({"stride": 2}, "indexed with stride 1 instead of 2"),
        ({"camera": "door"}, "as seen by camera 'gate'"),
        ({"detector": f"mot:{clips[0].truth}"}, "indexed with confidence None instead of 0"),
    ):
        with pytest.raises(InputError, match=message):
            index(gallery, clips[0].path, **options)


def test_what_a_release_with_other_defaults_began_goes_on(tmp_path, clips, index):
    earlier = TrackSettings(crops=4, crops_apart=0.5)
    with GalleryStore(tmp_path / "whole", create=True) as whole:
        index(whole, clips[0].path, tracks=earlier)
        expected = content(whole)
    with GalleryStore(tmp_path / "parts", create=True) as parts:
        source = unplug_after(open_source(str(clips[0].path)), 60)
        with pytest.raises(Unplugged):
            index(parts, clips[0].path, source=source, tracks=earlier)
        assert index(parts, clips[0].path).resumed
        assert content(parts) == expected
        assert index(parts, clips[0].path).known
        with pytest.raises(InputError, match="indexed with crops 4 instead of 2"):
            index(parts, clips[0].path, tracks=TrackSettings(crops=2))


def test_how_chunks_are_cut_does_not_show(tmp_path, clips, index):
    contents = []
    for chunk in (1, 7, 1000):
        with GalleryStore(tmp_path / str(chunk), create=True) as gallery:
            index(gallery, clips[0].path, chunk=chunk)
            contents.append(content(gallery))
    assert contents[0] == contents[1] == contents[2]
    assert contents[0]


class Unplugged(RuntimeError):
    """Stands for whatever ends a process."""


def unplug_after(source, frames: int):
    """The source, until it has given so many frames."""

    class Source:
        info, stop = source.info, source.stop

        def frames(self, span):
            for count, frame in enumerate(source.frames(span)):
                if count == frames:
                    raise Unplugged
                yield frame

    return Source()


@pytest.mark.parametrize("frames", [1, 17, 40, 75])
@pytest.mark.parametrize("detector", ["motion", "mot"])
def test_going_on_gives_what_never_stopping_gives(
    tmp_path, clips, index, indexed, detector, frames
):
    kind = "motion" if detector == "motion" else f"mot:{clips[0].truth}"
    with GalleryStore(tmp_path / "whole", create=True) as whole:
        index(whole, clips[0].path, detector=kind)
        expected = content(whole)
    with GalleryStore(tmp_path / "parts", create=True) as parts:
        source = unplug_after(open_source(str(clips[0].path)), frames)
        with pytest.raises(Unplugged):
            index(parts, clips[0].path, detector=kind, source=source)
        stopped_at = parts.videos()[0].position
        assert stopped_at % 16 == 0
        summary = index(parts, clips[0].path, detector=kind)
        assert summary.resumed == (stopped_at > 0)
        assert summary.frames == parts.videos()[0].num_frames - stopped_at
        assert content(parts) == expected
        assert list(check_integrity(parts)) == []


def test_what_was_deleted_from_an_unfinished_video_does_not_come_back(
    tmp_path, clips, index, monkeypatch
):
    monkeypatch.setattr(indexing, "_BATCHES_AHEAD", 0)  # tracklets are written as they are done
    with GalleryStore(tmp_path / "gallery", create=True) as gallery:
        source = unplug_after(open_source(str(clips[0].path)), 85)
        with pytest.raises(Unplugged):
            index(gallery, clips[0].path, source=source, chunk=4)
        deleted = gallery.tracklets()[0].id
        deletion.delete(gallery, TrackletFilter(tracklets=[deleted]))
        index(gallery, clips[0].path, chunk=4)
        remaining = [found.id for found in gallery.tracklets()]
        assert remaining
        assert deleted not in remaining


EIGHT = wall_clock("2026-03-01T08:00:00+01:00")


def stopped(gallery, clips, index, start=None) -> None:
    """Index a clip that comes to no end after six seconds."""
    source = unplug_after(open_source(str(clips[0].path)), 60)
    with pytest.raises(Unplugged):
        index(gallery, clips[0].path, source=source, chunk=4, start=start)


def pending(gallery) -> list[tuple[int, float]]:
    """Tracks and times of the images of people who are still in view."""
    with gallery.reading() as db:
        return db.execute("SELECT track, time FROM pending ORDER BY id").fetchall()


@pytest.mark.parametrize(
    "where",
    [TrackletFilter(cameras=["gate"]), TrackletFilter(before=1000.0), TrackletFilter(after=0.0)],
)
def test_images_of_people_in_view_are_forgotten_with_their_span(gallery, clips, index, where):
    stopped(gallery, clips, index)
    tracks = {track for track, _ in pending(gallery)}
    assert tracks
    jpegs = [crop.jpeg for key in gallery.keys().tolist() for crop in gallery.crops(key)]
    with gallery.reading() as db:
        jpegs += [jpeg for (jpeg,) in db.execute("SELECT jpeg FROM pending")]
    assert len(deletion.unfinished_tracks(gallery, where)) == len(tracks)
    count = gallery.count(where)
    assert deletion.delete(gallery, where).count == count + len(tracks)
    assert pending(gallery) == []
    content = b"".join(path.read_bytes() for path in gallery.folder.glob("gallery*"))
    assert not any(jpeg[100:200] in content for jpeg in jpegs)


def test_other_spans_cameras_and_people_leave_those_in_view(gallery, clips, index):
    stopped(gallery, clips, index)
    kept = pending(gallery)
    last = max(time for _, time in kept)
    statements.label(gallery, [found.id for found in gallery.tracklets()], "anna")
    for where in (
        TrackletFilter(after=last + 0.05),
        TrackletFilter(person="anna"),
        TrackletFilter(before=wall_clock("2026-03-01")),
    ):
        deletion.delete(gallery, where)
    assert pending(gallery) == kept


@pytest.mark.parametrize("before", [4.0, EIGHT + timedelta(seconds=4)])
def test_a_forgotten_span_stays_so_when_indexing_goes_on(gallery, clips, index, before):
    # One person is there from 2.8 s, one from 4.5 s.
    stopped(gallery, clips, index, EIGHT)
    deletion.delete(gallery, TrackletFilter(before=before))
    index(gallery, clips[0].path, chunk=4, start=EIGHT)
    (found,) = gallery.tracklets()
    assert found.start > 4
    assert list(check_integrity(gallery)) == []


def test_a_span_forgotten_while_it_is_indexed_stays_so(gallery, clips, index):
    source = open_source(str(clips[0].path))
    at = []

    class Deleting:
        info, stop = source.info, source.stop

        def frames(self, span):
            for frame in source.frames(span):
                if frame.number == 46:
                    with GalleryStore(gallery.folder) as other:
                        deletion.delete(other, TrackletFilter(cameras=["gate"]))
                        with other.reading() as db:
                            at.extend(db.execute("SELECT before FROM forgotten").fetchone())
                yield frame

    index(gallery, clips[0].path, source=Deleting(), chunk=2)
    (found,) = gallery.tracklets()  # who came later
    assert found.start > at[0] > 2.8
    assert list(check_integrity(gallery)) == []


def test_only_the_frames_asked_for_are_looked_at(gallery, clips, index):
    summary = index(gallery, clips[0].path, stride=2, begin=2.0, end=6.0)
    assert summary.frames == 20
    boxes = np.concatenate([gallery.boxes(key) for key in gallery.keys().tolist()])
    assert (boxes["frame"] % 2 == 0).all()
    assert boxes["time"].min() >= 2.0
    assert boxes["time"].max() < 6.0


def test_nobody_there_is_no_failure(gallery, index, tmp_path):
    path = tmp_path / "empty.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for _ in range(10):
        writer.write(np.full((48, 64, 3), 90, np.uint8))
    writer.release()
    summary = index(gallery, path)
    assert (summary.frames, summary.tracklets) == (10, 0)
    assert gallery.videos()[0].complete


def test_a_span_without_frames_is_no_failure(gallery, clips, index):
    summary = index(gallery, clips[0].path, begin=1000.0)
    assert (summary.frames, gallery.videos()[0].complete) == (0, True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stride": 0}, "stride is 0: use 1 to 1000000"),
        ({"stride": 10**20}, "use 1 to 1000000"),
        ({"begin": 5.0, "end": 5.0}, r"empty span from 5 s to 5 s: need finite numbers"),
        ({"begin": -1.0}, "empty span from -1 s to the end"),
        ({"begin": math.inf}, "empty span"),
        ({"begin": math.nan}, "empty span"),
        ({"end": math.inf}, "empty span from 0 s to inf s: need finite numbers, 0 ≤ begin < end"),
        ({"end": math.nan}, "empty span"),
    ],
)
def test_options_without_a_meaning_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        IndexingOptions(**options)


def test_a_video_deleted_meanwhile_stops_its_indexing(gallery, clips, index):
    source = open_source(str(clips[0].path))

    class Deleting:
        info, stop = source.info, source.stop

        def frames(self, span):
            for frame in source.frames(span):
                if frame.number == 60:
                    with GalleryStore(gallery.folder) as other:
                        deletion.delete(
                            other, TrackletFilter(videos=[source.info.hash]), whole=True
                        )
                yield frame

    before = threading.active_count()
    with pytest.raises(NotFoundError, match="was deleted from the gallery meanwhile"):
        index(gallery, clips[0].path, source=Deleting(), chunk=8)
    assert gallery.count() == 0
    assert threading.active_count() <= before


def test_an_error_in_any_stage_stops_all_of_them(gallery, clips, index):
    def broken(images):
        raise Unplugged

    before = threading.active_count()
    with pytest.raises(Unplugged):
        index(gallery, clips[0].path, embed=broken)
    assert threading.active_count() == before
    assert not gallery.videos()[0].complete


def test_the_embedder_is_given_batches_across_tracks(gallery, clips, index, embed, monkeypatch):
    monkeypatch.setattr(indexing, "_CROPS_PER_BATCH", 5)
    sizes = []

    def counting(images):
        sizes.append(len(images))
        return embed(images)

    index(gallery, clips[0].path, embed=counting, chunk=1000, tracks=TrackSettings(crops=3))
    assert max(sizes) > 3


class Live:
    """A stream: the frames of a video, arriving ten a second."""

    def __init__(self, path, count: int, moment: int = 0) -> None:
        recorded = open_source(str(path))
        info = recorded.info
        self.info = SourceInfo(
            f"{moment:016x}", "rtsp://camera/live", 10.0, info.width, info.height, None, live=True
        )
        self._frames = itertools.islice(recorded.frames(Span()), count)

    def stop(self) -> None:
        """Nothing waits."""

    def frames(self, span):
        for frame in self._frames:
            yield Frame(frame.number, frame.number / 10, frame.image)


@pytest.fixture
def patient(monkeypatch):
    """Streams wait until there is room, so that no frame is left out and tests know which."""

    class Waiting(Prefetched):
        def __init__(self, items, size, drop, stop) -> None:
            super().__init__(items, size, False, stop)

    monkeypatch.setattr(ingesting, "Prefetched", Waiting)


def test_a_stream_becomes_videos_of_bounded_length(gallery, clips, index, patient, monkeypatch):
    monkeypatch.setattr(ingesting, "_PART_SECONDS", 3.0)
    start = wall_clock("2026-03-01T08:00:00Z")
    summary = index(gallery, "", source=Live(clips[0].path, 80), start=start)
    videos = gallery.videos()
    assert [video.num_frames for video in videos] == [30, 30, 20]
    assert all(video.complete and not video.resumable for video in videos)
    assert summary.videos == [video.hash for video in videos]
    assert len({video.hash for video in videos}) == 3
    assert [(video.start_time - start).total_seconds() for video in videos] == [0, 3, 6]
    assert len({found.id.video for found in gallery.tracklets()}) > 1
    for found in gallery.tracklets():
        assert 0 <= found.first_frame <= found.last_frame < 30
    assert list(check_integrity(gallery)) == []


def test_a_stream_whose_process_died_is_finished_by_the_next(
    gallery, clips, index, patient, monkeypatch
):
    with pytest.raises(Unplugged):
        index(gallery, "", source=unplug_after(Live(clips[0].path, 90), 60), chunk=8)
    (left,) = gallery.videos()
    assert (left.complete, left.position) == (False, 56)
    index(gallery, "", source=Live(clips[1].path, 10, moment=1), chunk=8)
    finished, new = gallery.videos()
    assert finished.complete
    assert new.complete
    assert finished.num_frames == 56
    assert gallery.count(TrackletFilter(videos=[left.hash])) >= 1
    assert list(check_integrity(gallery)) == []


def test_a_stream_that_is_being_indexed_is_not_taken_over(gallery, clips, index, patient):
    live = Live(clips[0].path, 40)

    class Twice:
        info, stop = live.info, live.stop

        def frames(self, span):
            for frame in live.frames(span):
                if frame.number == 30:
                    with (
                        GalleryStore(gallery.folder) as other,
                        pytest.raises(LockedError) as caught,
                    ):
                        index(other, "", source=Live(clips[1].path, 10, moment=1))
                    assert "is being indexed by another process: stop that one" in str(caught.value)
                yield frame

    summary = index(gallery, "", source=Twice(), chunk=8)
    assert summary.frames == 40
    assert len(gallery.videos()) == 1
    index(gallery, "", source=Live(clips[1].path, 10, moment=1))  # now nobody does


def test_what_another_release_left_of_a_stream_is_ended(
    gallery, clips, index, patient, monkeypatch, caplog
):
    with pytest.raises(Unplugged):
        index(gallery, "", source=unplug_after(Live(clips[0].path, 90), 60), chunk=8)
    monkeypatch.setattr(ingesting, "tracker_version", lambda: "another")
    index(gallery, "", source=Live(clips[1].path, 10, moment=1), chunk=8)
    assert all(video.complete for video in gallery.videos())
    assert "people in view when indexing was interrupted are lost" in caplog.text


def test_another_release_knows_what_is_whole_and_goes_on_with_nothing(
    gallery, clips, index, monkeypatch
):
    stopped(gallery, clips, index)
    index(gallery, clips[1].path, "door")
    monkeypatch.setattr(ingesting, "tracker_version", lambda: "another")
    assert index(gallery, clips[1].path, "door").known
    with pytest.raises(InputError, match=r"indexed with tracking .* instead of 'another'"):
        index(gallery, clips[0].path)


def test_looking_too_seldom_is_warned_of(gallery, clips, index, caplog):
    index(gallery, clips[0].path, stride=5)
    assert f"{clips[0].path}: 2 frames per second are processed" in caplog.text


def test_another_cameras_stream_is_left_alone(gallery, clips, index, patient):
    with pytest.raises(Unplugged):
        index(gallery, "", source=unplug_after(Live(clips[0].path, 90), 60), chunk=8)
    index(gallery, "", camera="door", source=Live(clips[1].path, 10, moment=1), chunk=8)
    assert [video.complete for video in gallery.videos()] == [False, True]


def test_settings_come_back_from_the_store(gallery, clips, index):
    tracks = TrackSettings(tracker="sort", crops=2)
    index(gallery, clips[0].path, tracks=tracks)
    settings = gallery.videos()[0].settings
    # What is left to the detector is stored as the number that was used.
    assert TrackSettings.from_dict(settings) == replace(tracks, activation=0.5)
    assert settings["detector"] == "motion"


def test_a_writer_hands_back_what_it_committed(gallery):
    gallery.claim_model("a" * 64, 2, "m")
    video = NewVideo("0" * 16, "/gate.avi", 10.0, 64, 48)
    writer = VideoWriter.open(gallery, "gate", video)
    assert (writer.chunks(), writer.pending(), writer.tracks()) == ([], {}, set())


def test_a_live_stream_waits_for_a_locked_gallery_and_loses_nothing(
    tmp_path, clips, index, patient, monkeypatch, caplog
):
    monkeypatch.setattr(indexing, "_RETRY", 0.01)
    monkeypatch.setattr(ingesting, "_LIVE_PATIENCE_MS", 5)

    class Locking(Live):
        """Another process writes from the 20th to the 60th frame."""

        def frames(self, span):
            with GalleryStore(tmp_path / "locked") as other, other.reading() as db:
                for frame in super().frames(span):
                    if frame.number == 20:
                        db.execute("BEGIN IMMEDIATE")
                    if frame.number == 60:
                        db.execute("ROLLBACK")
                    yield frame

    with GalleryStore(tmp_path / "free", create=True) as gallery:
        index(gallery, "", source=Live(clips[0].path, 90), chunk=4)
        expected = [boxes.tobytes() for boxes in map(gallery.boxes, gallery.keys().tolist())]
    with GalleryStore(tmp_path / "locked", create=True) as gallery:
        index(gallery, "", source=Locking(clips[0].path, 90), chunk=4)
        found = [boxes.tobytes() for boxes in map(gallery.boxes, gallery.keys().tolist())]
        assert [video.num_frames for video in gallery.videos()] == [90]
        assert list(check_integrity(gallery)) == []
    assert found == expected
    assert found
    assert caplog.text.count("frames are kept in memory until then") == 1


def test_an_error_while_a_stream_is_away_ends_indexing_at_once(gallery, clips, index, patient):
    away, stopped = threading.Event(), threading.Event()

    class Away(Live):
        def frames(self, span):
            yield from super().frames(span)
            away.set()
            assert stopped.wait(60)

        def stop(self) -> None:
            stopped.set()

    def broken(images):
        assert away.wait(60)
        raise Unplugged

    before, begin = threading.active_count(), time.monotonic()
    with pytest.raises(Unplugged):
        index(gallery, "", source=Away(clips[0].path, 85), embed=broken, chunk=4)
    assert stopped.is_set()
    assert time.monotonic() - begin < 30
    assert threading.active_count() == before


def test_a_batch_that_fails_leaves_the_embedding_thread_alive(clips):
    calls = []

    def embed(images):
        calls.append(len(images))
        if len(calls) == 1:
            raise Unplugged
        return np.ones((len(images), 1), np.float32)

    crop = Crop(0, 0.0, (0, 0, 8, 16), 1.0, encode_jpeg(np.full((16, 8, 3), 90, np.uint8)))
    tracks = [Track(n, [np.zeros(1, DETECTION)], BestCrops(1, 0.5, [crop])) for n in (1, 2)]
    with indexing.Embedding(embed, Stage("embed", "crops")) as embedding:
        first, second = (embedding.submit([track]) for track in tracks)
        with pytest.raises(Unplugged):
            first.result()
        assert [tracklet.track for tracklet in second.result()] == [2]
        with pytest.raises(Unplugged):
            embedding.check()


def test_people_on_both_sides_of_a_pause_are_two_tracklets(gallery, clips, index):
    class Paused:
        """The clip with a pause of a minute in its middle."""

        def __init__(self) -> None:
            self._source = open_source(str(clips[0].path))
            self.info, self.stop = self._source.info, self._source.stop

        def frames(self, span):
            for frame in self._source.frames(span):
                yield frame._replace(time=frame.time + (60 if frame.number >= 45 else 0))

    index(gallery, clips[0].path, source=Paused())
    found = gallery.tracklets()
    assert found
    assert all(tracklet.end - tracklet.start < 30 for tracklet in found)


@pytest.mark.parametrize(("end", "frames"), [(None, 40), (1.25, 12), (60.0, 40), (1e308, 40)])
def test_the_frames_up_to_an_end_are_counted(end, frames):
    source = SimpleNamespace(info=SimpleNamespace(num_frames=40, fps=10.0))
    assert ingesting._total_frames(source, IndexingOptions(end=end)) == frames
