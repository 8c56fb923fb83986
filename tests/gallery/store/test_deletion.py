"""A deletion removes exactly what was selected, while other people come and go."""

import numpy as np
import pytest

from reid_dhm.gallery.records import DETECTION, FRAME, Crop, NewTracklet, NewVideo, TrackletFilter
from reid_dhm.gallery.store import deletion
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.store.integrity import check_integrity
from reid_dhm.gallery.store.writing import Chunk, Progress, VideoWriter
from reid_dhm.gallery.track.crops import encode_jpeg

UNIT = np.array([0.6, 0.8], np.float16)
HASH = "a" * 16
JPEG = encode_jpeg(np.full((40, 16, 3), 128, np.uint8))


def crop(time: float) -> Crop:
    return Crop(int(10 * time), time, (1, 2, 3, 4), 0.5, JPEG, UNIT)


def tracklet(track: int, start: float, end: float) -> NewTracklet:
    boxes = np.zeros(2, DETECTION)
    boxes["time"] = start, end
    boxes["frame"] = boxes["time"] * 10
    return NewTracklet(track, boxes, [crop(start)], UNIT)


class Indexer:
    """Twenty people walk in during the first ten seconds; five of them are gone by then."""

    def __init__(self, gallery: GalleryStore) -> None:
        gallery.claim_model("c0ffee" * 10, 2, "model")
        self.writer = VideoWriter.open(gallery, "gate", NewVideo(HASH, "/gate.avi", 10.0, 64, 48))
        self.position = 0
        pending = {track: [crop(track / 2 - 1)] for track in range(6, 21)}
        self.commit(100, pending, [tracklet(n, n / 2, n / 2 + 1) for n in range(1, 6)])

    def commit(self, position: int, pending=(), tracklets=()) -> None:
        frames = np.zeros(position - self.position, FRAME)
        frames["frame"] = np.arange(self.position, position)
        frames["time"] = frames["frame"] / 10
        chunk = Chunk(frames, np.empty(0, DETECTION))
        self.writer.commit(Progress(chunk, position, dict(pending), tracklets))
        self.position = position

    def end_tracks(self, *numbers: int, until: float) -> None:
        ended = [tracklet(number, number / 2 - 1, until) for number in numbers]
        self.commit(self.position + 10, (), ended)

    def newcomers(self) -> None:
        """Four are seen and gone, ten are still in view."""
        start = self.position / 10
        self.commit(
            self.position + 10,
            {track: [crop(start)] for track in range(25, 35)},
            [tracklet(track, start, start + 0.5) for track in range(21, 25)],
        )


@pytest.fixture
def indexer(empty) -> Indexer:
    return Indexer(empty)


def tracks(gallery: GalleryStore) -> list[int]:
    return [found.id.track for found in gallery.tracklets()]


def pending(gallery: GalleryStore) -> list[int]:
    with gallery.reading() as db:
        rows = db.execute("SELECT DISTINCT track FROM pending ORDER BY track").fetchall()
    return [row[0] for row in rows]


WHERE = TrackletFilter(cameras=["gate"])


@pytest.mark.parametrize("whole", [False, True])
def test_tracks_that_ended_after_the_question_are_deleted_with_those_shown(empty, indexer, whole):
    selected = deletion.select(empty, WHERE, whole)
    assert len(selected) == 20
    indexer.end_tracks(*range(6, 16), until=10.5)
    done = deletion.delete(empty, selected)
    assert (done.count, tracks(empty), pending(empty)) == (20, [], [])
    assert (done.videos, done.cameras) == ((1, ["gate"]) if whole else (0, []))


@pytest.mark.parametrize("whole", [False, True])
def test_people_who_came_after_the_question_stay(empty, indexer, whole):
    selected = deletion.select(empty, WHERE, whole)
    indexer.newcomers()
    done = deletion.delete(empty, selected)
    assert done.count == 20
    assert (tracks(empty), pending(empty)) == ([21, 22, 23, 24], list(range(25, 35)))
    assert (done.videos, done.cameras, done.kept) == (0, [], [HASH] if whole else [])
    assert [video.hash for video in empty.videos()] == [HASH]


def test_who_was_shown_in_view_does_not_come_back_and_who_came_later_does(empty, indexer):
    selected = deletion.select(empty, WHERE)
    indexer.newcomers()
    deletion.delete(empty, selected)
    indexer.end_tracks(*range(6, 21), until=12.0)  # deleted while in view
    assert tracks(empty) == [21, 22, 23, 24]
    indexer.commit(130, (), [tracklet(25, 10.0, 12.5)])
    assert tracks(empty) == [21, 22, 23, 24, 25]
    indexer.writer.finish()
    assert list(check_integrity(empty)) == []


def test_a_filter_deletes_what_matches_now(empty, indexer):
    indexer.newcomers()
    assert deletion.delete(empty, WHERE).count == 34
    assert (tracks(empty), pending(empty)) == ([], [])


def test_a_selection_of_one_video_leaves_the_others_and_their_camera(empty, indexer, keep):
    selected = deletion.select(empty, TrackletFilter(videos=[HASH]), whole=True)
    other = NewVideo("b" * 16, "/later.avi", 10.0, 64, 48)
    VideoWriter.open(empty, "gate", other).add([tracklet(1, 0.0, 1.0)])
    done = deletion.delete(empty, selected)
    assert (done.count, done.videos, done.cameras) == (20, 1, [])
    assert [camera.name for camera in empty.cameras()] == ["gate"]
    assert [video.hash for video in empty.videos()] == ["b" * 16]
