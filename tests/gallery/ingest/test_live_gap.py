"""A camera that is away for two minutes, as ``index-video`` meets it."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest

from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.store.integrity import check_integrity

SHOWN, GAP = 12.0, 125.0  # seconds of walking, and of silence
RATE, WIDTH, HEIGHT = 10, 320, 240
ROOT = Path(__file__).parents[3]

pytestmark = [
    pytest.mark.soak,
    pytest.mark.timeout(600),
    pytest.mark.skipif(os.name != "posix", reason="sends SIGINT"),
]


class Camera:
    """Motion JPEG over HTTP: somebody in red crosses a grey place, again and again."""

    def __init__(self, port: int = 0) -> None:
        camera = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=x")
                self.end_headers()
                with contextlib.suppress(ConnectionError):  # who watches may hang up
                    while not camera.ended.wait(1 / RATE):
                        data = cv2.imencode(".jpg", camera.view())[1].tobytes()
                        head = f"Content-Type: image/jpeg\r\nContent-Length: {len(data)}"
                        self.wfile.write(f"--x\r\n{head}\r\n\r\n".encode() + data + b"\r\n")

            def log_message(self, *_: object) -> None:
                pass

        self.ended = threading.Event()
        self.begun = time.monotonic()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def view(self) -> np.ndarray:
        image = np.full((HEIGHT, WIDTH, 3), 96, np.uint8)
        left = int(40 * (time.monotonic() - self.begun)) % WIDTH
        image[80:200, left : left + 40] = (30, 30, 220)
        return image

    def close(self) -> None:
        """Hang up, and answer no more calls."""
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()


def test_a_camera_that_is_away_for_two_minutes_is_indexed_before_and_after(tmp_path):
    camera = Camera()
    address = f"http://127.0.0.1:{camera.port}/camera.mjpg"
    process = subprocess.Popen(
        [sys.executable, "-m", "reid_dhm", "index-video", address, "--gallery", tmp_path / "site",
         "--camera", "gate", "--patience", "300"],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    try:
        while camera.begun + 60 > time.monotonic() and not (tmp_path / "site").exists():
            time.sleep(0.2)
        begun = time.monotonic()
        time.sleep(SHOWN)
        camera.close()
        lost = time.monotonic() - begun
        time.sleep(GAP)
        camera = Camera(camera.port)
        time.sleep(30 + SHOWN)  # it is called every thirty seconds
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
    finally:
        camera.close()
        process.kill()
        process.wait()
    assert process.returncode == 0, err
    assert "connection lost, trying again" in err
    away = int(re.search(r"connection restored after (\d+) s", err)[1])
    assert GAP - 1 <= away <= GAP + 45
    with GalleryStore(tmp_path / "site") as gallery:
        found = gallery.tracklets()
        assert list(check_integrity(gallery)) == []
        assert all(video.complete for video in gallery.videos())
    before = [tracklet for tracklet in found if tracklet.start < lost]
    after = [tracklet for tracklet in found if tracklet.start >= lost]
    assert before
    assert after
    assert max(tracklet.end for tracklet in before) < lost + 20
    assert min(tracklet.start for tracklet in after) > GAP
