import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np
import pytest

from reid_dhm.errors import InputError
from reid_dhm.gallery.footage.frames import Span
from reid_dhm.gallery.footage.sources import open_source
from reid_dhm.gallery.footage.streams import Stream


def image(number: int) -> np.ndarray:
    """A grey image whose brightness tells its number."""
    return np.full((48, 64, 3), 10 * number, np.uint8)


def number_of(image: np.ndarray) -> int:
    return round(float(image.mean()) / 10)


class Line:
    """A capture that gives some frames and then drops; -1 is a call that nobody answers."""

    calls: list[int]

    claimed_rate = 90000.0
    closed = 0

    def __init__(self) -> None:
        self.left = Line.calls.pop(0) if Line.calls else -1

    def read(self):
        if self.left <= 0:
            return None
        self.left -= 1
        return image(self.left)

    def close(self) -> None:
        Line.closed += 1


@pytest.fixture
def line(monkeypatch):
    """Streams that are told how many frames each call will bring, and wait for nothing."""
    waited: list[float] = []

    def connect(*calls: int, patience: float = 300.0) -> Stream:
        Line.calls, Line.closed = list(calls), 0
        stream = Stream("rtsp://camera/live", Line, None, patience)
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
    assert "rtsp://camera/live: connection lost, trying again" in caplog.text
    assert "rtsp://camera/live: connection restored" in caplog.text


def test_a_stream_that_stays_away_ends(line, caplog):
    stream = line(3, patience=0.0)
    assert len(list(stream.frames(Span()))) == 3
    assert "connection not restored" in caplog.text


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


def test_a_stream_that_is_abandoned_is_closed(line):
    stream = line(5)
    frames = stream.frames(Span())
    next(frames)
    assert Line.closed == 0
    frames.close()
    assert Line.closed == 1
