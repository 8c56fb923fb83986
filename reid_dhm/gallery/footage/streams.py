"""Streams and webcams: frames that pass by, and come back after the stream dropped."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

import cv2
import numpy as np
from numpy.typing import NDArray

from reid_dhm.errors import InputError
from reid_dhm.gallery.footage.frames import Frame, SourceInfo, Span, believable_rate, open_capture

logger = logging.getLogger(__name__)


class Stream:
    """A stream or webcam: times are those of arrival, and it is called again when it drops.

    Attempts follow each other after 1, 2, 4 … 30 seconds, until ``patience`` seconds have passed
    without a frame. :meth:`stop` ends it from another thread.
    """

    def __init__(self, address: str | int, fps: float | None, patience: float) -> None:
        self._address, self._patience = address, patience
        name = f"webcam {address}" if isinstance(address, int) else without_credentials(address)
        self._capture = open_capture(address)
        opened, first = self._capture.read()
        if not opened:
            self._capture.release()
            raise InputError(f"{name} sends no frames: check the address and that it is running")
        self._first: NDArray[np.uint8] | None = np.asarray(first, np.uint8)
        self._stopped = threading.Event()
        self._claimed = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        rate = fps or believable_rate(self._capture.get(cv2.CAP_PROP_FPS))
        height, width = first.shape[:2]
        moment = hashlib.blake2b(f"{name} {time.time_ns()}".encode(), digest_size=8).hexdigest()
        self.info = SourceInfo(moment, name, rate, width, height, None, live=True)

    def stop(self) -> None:
        """Let :meth:`frames` end soon, also while it waits for the stream to return."""
        self._stopped.set()

    def frames(self, span: Span) -> Iterator[Frame]:
        """See :class:`Source`; ends when the stream stays away, or had an end."""
        number, received, begin = 0, 1, time.monotonic()
        image, self._first = self._first, None
        while image is not None and not self._stopped.is_set():
            now = time.monotonic() - begin
            if now >= span.end:
                break
            if span.wants(number, now):
                yield Frame(number, now, image)
            number += 1
            arrived, following = self._capture.read()
            image = np.asarray(following, np.uint8) if arrived else None
            received += int(arrived)
            ended = self._stopped.is_set() or 0 < self._claimed <= received
            if image is None and not ended:
                received, image = 1, self._call_again()
        self._capture.release()

    def _call_again(self) -> NDArray[np.uint8] | None:
        """The first frame after the stream returned; None if it stays away."""
        logger.warning("%s dropped: calling again", self.info.name)
        gone, pause = time.monotonic(), 1.0
        while not self._stopped.wait(min(pause, self._patience)):
            self._capture.release()
            self._capture = open_capture(self._address)
            arrived, image = self._capture.read()
            if arrived:
                logger.warning("%s returned after %.0f s", self.info.name, time.monotonic() - gone)
                return np.asarray(image, np.uint8)
            if time.monotonic() - gone >= self._patience:
                break
            pause = min(2 * pause, 30.0)
        logger.warning("%s stayed away", self.info.name)
        return None


def without_credentials(address: str) -> str:
    """A stream's address without user, password, and what follows a question mark."""
    parts = urlsplit(address)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))
