"""Frames by number, against frames decoded one after the other."""

import threading
from fractions import Fraction
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from reid_dhm.gallery.footage import seeking
from reid_dhm.gallery.footage.frames import Span
from reid_dhm.gallery.footage.hashing import content_hash
from reid_dhm.gallery.footage.seeking import START, FrameTime, is_available
from reid_dhm.gallery.footage.sources import open_source
from reid_dhm.gallery.records import Video
from reid_dhm.service.errors import Busy, Problem
from reid_dhm.service.frames import frames as frames_module
from reid_dhm.service.frames.frames import Frames, source_name

SIZE = (96, 64)


def numbered(number: int) -> np.ndarray:
    """An image that no other number has."""
    image = np.full((SIZE[1], SIZE[0], 3), 30, np.uint8)
    for bit in range(8):
        image[8:56, 12 * bit : 12 * bit + 10] = 230 if number >> bit & 1 else 60
    return image


def number_of(image: np.ndarray) -> int:
    return sum(1 << bit for bit in range(8) if image[30, 12 * bit + 5].mean() > 145)


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
    found = [number_of(frames.image(steady, n, FrameTime(n, n / 25, exact=False))) for n in ORDER]
    assert found == ORDER


@pytest.fixture
def grabbed(monkeypatch) -> list[None]:
    """Grows with every frame that is decoded."""
    frames: list[None] = []
    advance = seeking.VideoReader._advance
    monkeypatch.setattr(
        seeking.VideoReader, "_advance", lambda self: frames.append(None) or advance(self)
    )
    return frames


def test_frames_of_uneven_length_are_found_by_their_time(uneven, grabbed):
    video, moments = uneven
    frames = Frames()
    found = [number_of(frames.image(video, n, FrameTime(n, moments[n]))) for n in ORDER]
    assert found == ORDER
    before = len(grabbed)
    frames.forget()
    frames.image(video, 190, FrameTime(190, moments[190]))
    assert len(grabbed) - before < 40  # its keyframes are twelve frames apart


def test_frames_behind_a_known_one_are_counted_from_it(uneven):
    video, moments = uneven
    for number in ORDER[1:]:  # each by itself: nothing depends on what was shown before
        anchor = FrameTime(number - 1, moments[number - 1])
        assert number_of(Frames().image(video, number, anchor)) == number


def test_a_time_that_is_not_the_files_does_not_mislead(uneven):
    video, moments = uneven
    frames = Frames()
    found = [number_of(frames.image(video, n, FrameTime(n, moments[n] + 0.013))) for n in ORDER]
    assert found == ORDER


def test_what_takes_too_long_goes_on_when_asked_again(steady, monkeypatch):
    # A second passes whenever somebody looks at the clock, which is once a frame.
    monkeypatch.setattr(frames_module, "time", SimpleNamespace(monotonic=count().__next__))
    frames = Frames()
    for _ in range(3):
        with pytest.raises(Busy, match="frame 30 is far from where decoding can begin: try again"):
            frames.image(steady, 30, START)
    assert number_of(frames.image(steady, 30, START)) == 30


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
    with pytest.raises(Problem, match="is missing: restore it"):
        frames.jpeg(steady, 7)


def test_a_folder_of_images(tmp_path):
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
    assert is_available(video)
    assert number_of(frames.image(video, 9)) == 9


def test_other_images_than_were_indexed_are_not_shown(tmp_path):
    cv2.imwrite(str(tmp_path / "0.png"), numbered(0))
    with pytest.raises(Problem, match="has changed since it was indexed"):
        Frames().image(record(str(tmp_path), "0" * 16, 5.0), 0)


def test_a_frame_beyond_the_end(steady):
    with pytest.raises(Problem, match=r"frame 200 of steady\.mp4 cannot be decoded") as caught:
        Frames().image(steady, 200)
    assert caught.value.status == 404


def replace(path: Path) -> None:
    """Write another video of the same size and length in a video's place."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 25, SIZE)
    for number in range(200):
        writer.write(numbered(255 - number))
    writer.release()


def test_another_video_in_its_place_is_not_shown(steady):
    frames = Frames()
    assert number_of(frames.image(steady, 7)) == 7
    replace(Path(steady.source))
    for _ in range(2):
        with pytest.raises(
            Problem, match=r"steady\.mp4 has changed since it was indexed"
        ) as caught:
            frames.image(steady, 8)
        assert caught.value.status == 404


def test_two_videos_of_one_path_are_told_apart(steady):
    frames = Frames()
    frames.image(steady, 7)
    replace(Path(steady.source))
    other = record(steady.source, content_hash([Path(steady.source)]), 25)
    assert number_of(frames.image(other, 7)) == 248
    with pytest.raises(Problem, match="has changed since it was indexed"):
        frames.image(steady, 8)


def test_a_source_is_read_wholly_once(steady, monkeypatch):
    read: list[Path] = []
    monkeypatch.setattr(seeking, "content_hash", lambda p: read.extend(p) or content_hash(p))
    frames = Frames()
    for number in range(3):
        frames.image(steady, number)
    assert read == [Path(steady.source)]
    Path(steady.source).touch()
    frames.image(steady, 3)
    assert len(read) == 2


def test_one_slow_video_keeps_no_other_waiting(steady, tmp_path, monkeypatch):
    other = record(str(tmp_path / "other.mp4"), "", 25)
    replace(Path(other.source))
    object.__setattr__(other, "hash", content_hash([Path(other.source)]))
    reading, go_on = threading.Event(), threading.Event()

    def hash_slowly(paths: list[Path]) -> str:
        if paths[0].name == "other.mp4":
            reading.set()
            assert go_on.wait(60)
        return content_hash(paths)

    monkeypatch.setattr(seeking, "content_hash", hash_slowly)
    frames = Frames()
    slow = threading.Thread(target=frames.jpeg, args=(other, 0))
    slow.start()
    assert reading.wait(60)
    assert number_of(frames.image(steady, 7)) == 7
    frames.forget()  # does not wait either
    go_on.set()
    slow.join()


def test_images_that_were_exchanged_are_not_shown(tmp_path):
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), numbered(number))
    source = open_source(str(tmp_path), 5.0)
    video, frames = record(source.info.name, source.info.hash, 5.0), Frames()
    assert number_of(frames.image(video, 1)) == 1
    cv2.imwrite(str(tmp_path / "2.png"), numbered(77))
    with pytest.raises(Problem, match="has changed since it was indexed"):
        frames.image(video, 2)


def test_a_file_that_is_no_video(tmp_path):
    path = tmp_path / "notes.avi"
    path.write_bytes(b"hello")
    with pytest.raises(Problem, match="cannot be decoded"):
        Frames().image(record(str(path), content_hash([path]), 25), 0)


@pytest.mark.parametrize("source", ["rtsp://camera.example/1", "http://camera.example/video"])
def test_streams_are_never_called(source):
    video = record(source, "0" * 16, 25)
    assert not is_available(video)
    assert source_name(video) == source
    with pytest.raises(Problem, match="was read from a camera or the network: only its crops are"):
        Frames().image(video, 0)
