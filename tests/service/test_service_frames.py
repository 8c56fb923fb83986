"""Frames by number, against frames decoded one after the other."""

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from reid_dhm.gallery.frames import Span
from reid_dhm.gallery.records import Video
from reid_dhm.gallery.sources import content_hash, open_source
from reid_dhm.service.frames import Frames, can_be_reached, source_name
from reid_dhm.service.problems import Problem

SIZE = (96, 64)


def numbered(number: int) -> np.ndarray:
    """A picture that no other number has."""
    picture = np.full((SIZE[1], SIZE[0], 3), 30, np.uint8)
    for bit in range(8):
        picture[8:56, 12 * bit : 12 * bit + 10] = 230 if number >> bit & 1 else 60
    return picture


def number_of(picture: np.ndarray) -> int:
    return sum(1 << bit for bit in range(8) if picture[30, 12 * bit + 5].mean() > 145)


def record(source: str, hash: str, fps: float) -> Video:
    return Video(hash=hash, source=source, fps=fps, width=SIZE[0], height=SIZE[1])


@pytest.fixture
def steady(tmp_path) -> Video:
    """A video file of 200 frames."""
    path = tmp_path / "steady.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 25, SIZE)
    for number in range(200):
        writer.write(numbered(number))
    writer.release()
    return record(str(path), content_hash([path]), 25)


@pytest.fixture
def uneven(tmp_path) -> tuple[Video, list[float]]:
    """A video file of 200 frames, every seventh of which lasts longer, and when each is."""
    av = pytest.importorskip("av", reason="PyAV writes the video of uneven frames")
    path, moment = tmp_path / "uneven.mp4", 0
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height = SIZE
        stream.codec_context.time_base = Fraction(1, 1000)
        for number in range(200):
            frame = av.VideoFrame.from_ndarray(numbered(number), format="bgr24")
            frame.pts, frame.time_base = moment, Fraction(1, 1000)
            moment += 40 if number % 7 else 140
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    source = open_source(str(path))
    moments = [frame.time for frame in source.frames(Span())]
    return record(str(path), source.info.hash, source.info.fps), moments


ORDER = [0, 1, 2, 150, 149, 199, 3, 70, 71, 75, 60, 0, 199]


def test_any_frame_in_any_order(steady):
    frames = Frames()
    assert [number_of(frames.image(steady, number)) for number in ORDER] == ORDER


def test_frames_of_uneven_length_are_found_by_their_time(uneven):
    video, moments = uneven
    frames = Frames()
    found = [number_of(frames.image(video, number, moments[number])) for number in ORDER]
    assert found == ORDER


def test_the_same_frame_twice_is_decoded_once(steady):
    frames = Frames()
    first = frames.jpeg(steady, 7)
    Path(steady.source).write_bytes(b"gone")
    assert frames.jpeg(steady, 7) is first
    assert number_of(cv2.imdecode(np.frombuffer(first, np.uint8), cv2.IMREAD_COLOR)) == 7


def test_forgotten_frames_are_decoded_anew(steady):
    frames = Frames()
    frames.jpeg(steady, 7)
    frames.forget()
    Path(steady.source).unlink()
    with pytest.raises(Problem, match="no longer where it was indexed"):
        frames.jpeg(steady, 7)


def test_a_folder_of_pictures(tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(12):  # 10 comes behind 9
        cv2.imwrite(str(folder / f"{number}.png"), numbered(number))
    source = open_source(str(folder), 5.0)
    video = record(source.info.name, source.info.hash, 5.0)
    frames = Frames()
    assert [number_of(frames.image(video, number)) for number in (10, 2, 11)] == [10, 2, 11]
    pattern = open_source(str(folder / "*.png"), 5.0)
    video = record(pattern.info.name, pattern.info.hash, 5.0)
    assert can_be_reached(video)
    assert number_of(frames.image(video, 9)) == 9


def test_other_pictures_than_were_indexed_are_not_shown(tmp_path):
    cv2.imwrite(str(tmp_path / "0.png"), numbered(0))
    with pytest.raises(Problem, match="holds other pictures than were indexed"):
        Frames().image(record(str(tmp_path), "0" * 16, 5.0), 0)


def test_a_frame_beyond_the_end(steady):
    with pytest.raises(Problem, match=r"frame 200 of steady\.mp4 cannot be decoded") as caught:
        Frames().image(steady, 200)
    assert caught.value.status == 404


def test_another_video_in_its_place(steady, tmp_path):
    other = record(steady.source, steady.hash, 25)
    object.__setattr__(other, "width", 640)
    with pytest.raises(Problem, match="is not the video that was indexed: its frames have 96×64"):
        Frames().image(other, 0)


def test_a_file_that_is_no_video(tmp_path):
    path = tmp_path / "notes.avi"
    path.write_bytes(b"hello")
    with pytest.raises(Problem, match="cannot be decoded"):
        Frames().image(record(str(path), "0" * 16, 25), 0)


@pytest.mark.parametrize("source", ["rtsp://camera.example/1", "http://camera.example/video"])
def test_streams_are_never_called(source):
    video = record(source, "0" * 16, 25)
    assert not can_be_reached(video)
    assert source_name(video) == source
    with pytest.raises(Problem, match="was a live stream: its frames were not kept"):
        Frames().image(video, 0)
