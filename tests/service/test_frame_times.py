"""When frames are, from a gallery whose boxes have known times."""

from itertools import accumulate

import numpy as np
import pytest

from reid_dhm.errors import StorageError
from reid_dhm.gallery.footage.seeking import START, FrameTime
from reid_dhm.gallery.records import DETECTION, Crop, NewTracklet, NewVideo, Video
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.store.writing import VideoWriter
from reid_dhm.service.frames.frame_times import frame_time

FPS = 10.0
EVEN = [n / FPS for n in range(100)]
UNEVEN = list(accumulate([0.0] + [0.5 if n % 3 else 0.1 for n in range(99)]))


def gallery_of(folder, times: list[float], *seen: list[int]) -> tuple[GalleryStore, Video]:
    """A gallery of one video, and who was seen in which of its frames."""
    gallery = GalleryStore(folder, create=True)
    gallery.claim_model("model", 2, "of a test")
    writer = VideoWriter.open(gallery, "gate", NewVideo("0" * 16, "/gate.mp4", FPS, 64, 48))
    tracklets = []
    for track, frames in enumerate(seen, 1):
        boxes = np.array([(n, times[n], (0, 0, 9, 9), 1) for n in frames], DETECTION)
        row = np.array([1, 0], np.float16)
        crop = Crop(frames[0], times[frames[0]], (0, 0, 9, 9), 1.0, b"jpeg", row)
        tracklets.append(NewTracklet(track, boxes, [crop], row))
    writer.add(tracklets)
    return gallery, gallery.video("0" * 16)


@pytest.mark.parametrize("times", [EVEN, UNEVEN], ids=["even", "uneven"])
def test_a_frame_in_which_somebody_was_seen_is_known(tmp_path, times):
    gallery, video = gallery_of(tmp_path / "g", times, [20, 22, 30], [21, 40])
    for number in (20, 21, 22, 30, 40):
        assert frame_time(gallery, video, number) == FrameTime(number, times[number])


def test_frames_between_are_evenly_spaced_where_those_around_are(tmp_path):
    gallery, video = gallery_of(tmp_path / "g", EVEN, [20, 30], [60, 61])
    for number in (3, 25, 45, 99):
        frame, time, known = frame_time(gallery, video, number)
        assert (frame, known) == (number, False)
        assert time == pytest.approx(EVEN[number])


def test_other_frames_are_counted_from_the_last_known_one(tmp_path):
    gallery, video = gallery_of(tmp_path / "g", UNEVEN, [20, 22, 30], [60, 61])
    expected = {3: 0, 21: 20, 29: 22, 45: 30, 99: 61}
    for number, frame in expected.items():
        assert frame_time(gallery, video, number) == FrameTime(frame, UNEVEN[frame])


def test_a_video_in_which_nobody_was_seen(tmp_path):
    gallery, video = gallery_of(tmp_path / "g", EVEN)
    assert frame_time(gallery, video, 0) == START
    assert frame_time(gallery, video, 50) == FrameTime(50, 5.0, exact=False)


def test_an_altered_time_is_damage(tmp_path):
    gallery, video = gallery_of(tmp_path / "g", EVEN, [20, 30])
    with gallery.writing() as db:
        db.execute("UPDATE tracklets SET start = CAST('x' AS BLOB)")
    with pytest.raises(StorageError, match=r"damaged \(.*instead of"):
        frame_time(gallery, video, 25)
