import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest

from reid_dhm.errors import InputError
from reid_dhm.gallery.footage import streams
from reid_dhm.gallery.footage.frames import Span
from reid_dhm.gallery.footage.sources import content_hash, open_source
from reid_dhm.gallery.footage.streams import Stream, without_credentials

FPS = 8.0
COUNT = 24


def image(number: int) -> np.ndarray:
    """A grey image whose brightness tells its number."""
    return np.full((48, 64, 3), 10 * number, np.uint8)


def number_of(image: np.ndarray) -> int:
    return round(float(image.mean()) / 10)


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("video") / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), FPS, (64, 48))
    for number in range(COUNT):
        writer.write(image(number))
    writer.release()
    return path


def test_frames_of_a_video_have_numbers_times_and_pixels(video):
    source = open_source(str(video))
    info = source.info
    assert (info.fps, info.width, info.height, info.num_frames) == (FPS, 64, 48, COUNT)
    assert (info.name, info.live) == (str(video), False)
    frames = list(source.frames(Span()))
    assert [frame.number for frame in frames] == list(range(COUNT))
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(COUNT) / FPS, atol=1e-3)
    assert [number_of(frame.image) for frame in frames] == list(range(COUNT))
    assert frames[0].image.dtype == np.uint8


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        (Span(first=20), [20, 21, 22, 23]),
        (Span(stride=5), [0, 5, 10, 15, 20]),
        (Span(first=7, stride=5), [10, 15, 20]),
        (Span(begin=1.0, end=1.5), [8, 9, 10, 11]),
        (Span(begin=99.0), []),
    ],
)
def test_only_the_frames_wanted_come_and_they_are_the_same(video, span, expected):
    frames = list(open_source(str(video)).frames(span))
    assert [frame.number for frame in frames] == expected
    assert [number_of(frame.image) for frame in frames] == expected


def test_a_frame_rate_that_the_user_knows_better_sets_the_clock(video):
    frames = list(open_source(str(video), fps=2.0).frames(Span()))
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(COUNT) / 2)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ([5.0, 5.1, 5.2, 5.3], [0, 0.1, 0.2, 0.3]),  # counted from the first frame
        ([0.0, 0.0, 0.0, 0.0], [0, 0.1, 0.2, 0.3]),  # a clock that stands still
        ([0.0, 0.25, 0.2, 0.5], [0, 0.25, 0.35, 0.5]),  # one that went back
        ([0.0, 1e6, 0.2, 0.3], [0, 0.1, 0.2, 0.3]),  # one that leapt
        ([0.0, float("nan"), 0.2, 0.3], [0, 0.1, 0.2, 0.3]),
    ],
)
def test_the_containers_clock_is_believed_only_while_it_is_sane(video, monkeypatch, told, expected):
    source = open_source(str(video), fps=None)

    class Clock:
        """The video with other times."""

        def __init__(self) -> None:
            self._left = list(told)
            self._now = 0.0

        def grab(self) -> bool:
            if not self._left:
                return False
            self._now = self._left.pop(0)
            return True

        def retrieve(self):
            return True, image(0)

        def get(self, key: int) -> float:
            return self._now * 1000

        def release(self) -> None:
            pass

    source.info = type(source.info)(
        **{**{name: getattr(source.info, name) for name in source.info.__slots__}, "fps": 10.0,
           "num_frames": 4}
    )  # fmt: skip
    monkeypatch.setattr("reid_dhm.gallery.footage.sources.open_capture", lambda path: Clock())
    times = [frame.time for frame in source.frames(Span())]
    np.testing.assert_allclose(times, expected, atol=1e-9)


def test_a_file_that_is_cut_off_gives_what_it_holds_and_a_warning(video, tmp_path, caplog):
    cut = tmp_path / "cut.avi"
    content = video.read_bytes()
    cut.write_bytes(content[: len(content) * 3 // 4])  # in the middle of a frame
    frames = list(open_source(str(cut)).frames(Span()))
    assert 5 < len(frames) < COUNT
    assert [number_of(frame.image) for frame in frames] == list(range(len(frames)))
    assert f"ends after {len(frames)} of 24 frames" in caplog.text


def test_a_whole_file_warns_of_nothing(video, caplog):
    list(open_source(str(video)).frames(Span()))
    assert caplog.text == ""


@pytest.mark.parametrize("content", [b"", b"no video " * 1000])
def test_what_is_no_video_is_named(tmp_path, content):
    path = tmp_path / "note.mp4"
    path.write_bytes(content)
    with pytest.raises(
        InputError, match=r"note\.mp4 cannot be decoded: it is no video, or damaged"
    ):
        open_source(str(path))


def test_a_source_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"gone\.mp4 is not there: give a video, a folder"):
        open_source(str(tmp_path / "gone.mp4"))


def write_images(folder: Path) -> None:
    folder.mkdir()
    for number in range(12):
        cv2.imwrite(str(folder / f"frame{number}.png"), image(number))


def test_images_come_in_natural_order_at_their_rate(tmp_path):
    write_images(tmp_path / "frames")
    (tmp_path / "frames" / "notes.txt").write_text("no image")
    for text in (tmp_path / "frames", tmp_path / "frames" / "*.png"):
        source = open_source(str(text), fps=4.0)
        assert source.info.num_frames == 12
        frames = list(source.frames(Span(first=1)))
        assert [number_of(frame.image) for frame in frames] == list(range(1, 12))
        assert [frame.time for frame in frames] == [number / 4 for number in range(1, 12)]


def test_the_pixels_of_images_are_bgr_as_those_of_videos(tmp_path):
    (tmp_path / "frames").mkdir()
    blue = np.zeros((8, 8, 3), np.uint8)
    blue[..., 0] = 255
    cv2.imwrite(str(tmp_path / "frames" / "1.png"), blue)
    (frame,) = open_source(str(tmp_path / "frames"), fps=1.0).frames(Span())
    np.testing.assert_array_equal(frame.image, blue)


def test_a_damaged_image_is_left_out_and_named(tmp_path, caplog):
    write_images(tmp_path / "frames")
    (tmp_path / "frames" / "frame3.png").write_bytes(b"no image")
    frames = list(open_source(str(tmp_path / "frames"), fps=1.0).frames(Span()))
    assert [frame.number for frame in frames] == [n for n in range(12) if n != 3]
    assert "frame3.png is truncated, corrupt or not an image" in caplog.text


def test_images_need_a_rate_and_there_must_be_some(tmp_path):
    write_images(tmp_path / "frames")
    with pytest.raises(InputError, match="holds images, which have no clock: give --fps"):
        open_source(str(tmp_path / "frames"))
    with pytest.raises(InputError, match="holds no images"):
        open_source(str(tmp_path / "frames" / "*.jpg"), fps=1.0)
    with pytest.raises(InputError, match=r"--fps is 0\.0: give frames a second"):
        open_source(str(tmp_path / "frames"), fps=0.0)


def test_hashes_follow_content_and_nothing_else(video, tmp_path):
    copy = tmp_path / "another name.avi"
    copy.write_bytes(video.read_bytes())
    assert open_source(str(copy)).info.hash == open_source(str(video)).info.hash
    copy.write_bytes(video.read_bytes() + b"x")
    assert open_source(str(copy)).info.hash != open_source(str(video)).info.hash
    assert len(open_source(str(copy)).info.hash) == 16


def test_hashes_of_images_tell_where_one_ends(tmp_path):
    parts = {"a": b"12", "b": b"3", "c": b"1", "d": b"23"}
    for name, content in parts.items():
        (tmp_path / name).write_bytes(content)
    first = content_hash([tmp_path / "a", tmp_path / "b"])
    assert first != content_hash([tmp_path / "c", tmp_path / "d"])
    assert first != content_hash([tmp_path / "b", tmp_path / "a"])


def test_names_of_streams_keep_no_password():
    assert (
        without_credentials("rtsp://admin:secret@10.0.0.5:554/live?token=secret")
        == "rtsp://10.0.0.5:554/live"
    )


class Line:
    """A capture that gives some frames and then drops; -1 is a call that nobody answers."""

    calls: list[int]

    def __init__(self) -> None:
        self.left = Line.calls.pop(0) if Line.calls else -1

    def read(self):
        if self.left <= 0:
            return False, None
        self.left -= 1
        return True, image(self.left)

    def get(self, key: int) -> float:
        return {cv2.CAP_PROP_FPS: 90000.0}.get(key, 0.0)

    def release(self) -> None:
        pass


@pytest.fixture
def line(monkeypatch):
    """Streams that are told how many frames each call will bring, and wait for nothing."""
    waited: list[float] = []

    def connect(*calls: int, patience: float = 300.0) -> Stream:
        Line.calls = list(calls)
        monkeypatch.setattr(streams, "open_capture", lambda address: Line())
        stream = Stream("rtsp://user:secret@camera/live", None, patience)
        stopped = stream._stopped
        monkeypatch.setattr(stopped, "wait", lambda s: waited.append(s) or stopped.is_set())
        return stream

    connect.waited = waited
    return connect


def test_a_stream_that_drops_is_called_until_it_returns(line, caplog):
    stream = line(5, -1, -1, -1, 3, patience=20.0)
    frames = []
    for frame in stream.frames(Span()):
        frames.append(frame)
        if len(frames) == 8:
            stream.stop()
    assert [frame.number for frame in frames] == list(range(8))
    assert [number_of(frame.image) for frame in frames] == [4, 3, 2, 1, 0, 2, 1, 0]
    times = [frame.time for frame in frames]
    assert times == sorted(times)
    assert line.waited == [1, 2, 4, 8]
    assert "rtsp://camera/live dropped: calling again" in caplog.text
    assert "rtsp://camera/live returned" in caplog.text
    assert "secret" not in caplog.text


def test_a_stream_that_stays_away_ends(line, caplog):
    stream = line(3, patience=0.0)
    assert len(list(stream.frames(Span()))) == 3
    assert "stayed away" in caplog.text


def test_pauses_between_calls_are_bounded(line):
    stream = line(1, *[-1] * 8, 1)
    frames = stream.frames(Span())
    next(frames)
    next(frames)
    assert line.waited == [1, 2, 4, 8, 16, 30, 30, 30, 30]


def test_what_a_stream_claims_must_be_believable(line):
    stream = line(2)
    assert (stream.info.fps, stream.info.live, stream.info.name) == (
        *(25.0, True),
        "rtsp://camera/live",
    )
    assert stream.info.num_frames is None


def test_a_stream_that_sends_nothing_is_named(line):
    with pytest.raises(InputError, match="rtsp://camera/live sends no frames: check the address"):
        line(0)


def test_every_opening_of_a_stream_is_another_video(line):
    assert line(1).info.hash != line(1).info.hash


def test_a_real_stream_that_drops_and_returns(monkeypatch):
    """Motion JPEG over HTTP, whose server hangs up after every tenth image."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=x")
            self.end_headers()
            for number in range(10):
                _, data = cv2.imencode(".jpg", image(number))
                self.wfile.write(b"--x\r\nContent-Type: image/jpeg\r\n")
                self.wfile.write(f"Content-Length: {len(data)}\r\n\r\n".encode())
                self.wfile.write(data.tobytes() + b"\r\n")
                time.sleep(0.01)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        stream = open_source(f"http://127.0.0.1:{server.server_port}/camera.mjpg", patience=30.0)
        monkeypatch.setattr(stream._stopped, "wait", lambda seconds: False)
        seen = []
        for frame in stream.frames(Span()):
            seen.append(number_of(frame.image))
            if len(seen) == 25:
                stream.stop()
    finally:
        server.shutdown()
        server.server_close()
    assert len(seen) == 25
    assert seen.count(2) >= 2  # the second call brought it again
