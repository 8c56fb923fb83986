"""Live streams and webcams: frames that pass by, and a connection that is restored."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Protocol

import cv2
import numpy as np

from reid_dhm.errors import InputError, ReidError
from reid_dhm.gallery.footage.clock import plausible_rate
from reid_dhm.gallery.footage.decoding.decoder import VideoDecoder
from reid_dhm.gallery.footage.frames import Frame, Image, SourceInfo, Span

logger = logging.getLogger(__name__)


class Connection(Protocol):
    """An open stream or webcam."""

    @property
    def claimed_rate(self) -> float:
        """Frames per second as the sender says; 0 if it does not."""
        ...

    def read(self) -> Image | None:
        """The next frame; None when the connection is lost."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


class Stream:
    """A live stream or webcam; times are those of arrival.

    A lost connection is restored after 1, 2, 4 … 30 seconds, until ``patience`` seconds have
    passed without a frame.

    Args:
        name: what users call it, without credentials.
        connect: opens it; raises :class:`.ReidError` if that fails.
        fps: frames per second, to override what it claims.
        patience: in seconds.
        connection: the first connection, if it is open already.

    Raises:
        InputError: it sends no frames.
    """

    def __init__(
        self,
        name: str,
        connect: Callable[[], Connection],
        fps: float | None,
        patience: float,
        connection: Connection | None = None,
    ) -> None:
        self._connect, self._patience = connect, patience
        self._connection = connection or connect()
        first = self._connection.read()
        if first is None:
            self._connection.close()
            raise InputError(f"{name} sends no frames: check the address and that it is running")
        self._first: Image | None = first
        self._stopped = threading.Event()
        rate = fps or plausible_rate(self._connection.claimed_rate, ())
        height, width = first.shape[:2]
        opened = hashlib.blake2b(f"{name} {time.time_ns()}".encode(), digest_size=8).hexdigest()
        self.info = SourceInfo(opened, name, rate, width, height, None, live=True)

    def stop(self) -> None:
        """Let :meth:`frames` end soon, also while it waits for the connection."""
        self._stopped.set()

    def frames(self, span: Span) -> Iterator[Frame]:
        """See :class:`.Source`; ends when the connection is not restored in time."""
        number, begin = 0, time.monotonic()
        image, self._first = self._first, None
        try:
            while image is not None and not self._stopped.is_set():
                now = time.monotonic() - begin
                if now >= span.end:
                    return
                if span.wants(number, now):
                    yield Frame(number, now, image)
                number += 1
                image = self._connection.read()
                if image is None and not self._stopped.is_set():
                    image = self._reconnect()
        finally:
            self._connection.close()

    def _reconnect(self) -> Image | None:
        """The first frame of a new connection; None if there is none in time."""
        logger.warning("%s: connection lost, trying again", self.info.name)
        lost, pause = time.monotonic(), 1.0
        while not self._stopped.wait(min(pause, self._patience)):
            self._connection.close()
            try:
                self._connection = self._connect()
                image = self._connection.read()
            except ReidError:
                image = None
            away = time.monotonic() - lost
            if image is not None:
                logger.warning("%s: connection restored after %.0f s", self.info.name, away)
                return image
            if away >= self._patience:
                break
            pause = min(2 * pause, 30.0)
        logger.warning("%s: connection not restored, indexing ends", self.info.name)
        return None


class NetworkStream:
    """A stream at an address, read by FFmpeg."""

    def __init__(self, address: str) -> None:
        # Decoding several frames at once would delay each of them.
        self._decoder = VideoDecoder(address, threads="SLICE")
        self._frames = self._decoder.frames()
        self.claimed_rate = self._decoder.claimed_rate
        self.recorded = self._decoder.recorded

    def read(self) -> Image | None:
        """See :class:`Connection`."""
        try:
            found = next(self._frames, None)
        except ReidError:
            return None
        return None if found is None else self._decoder.image(found[0])

    def close(self) -> None:
        """See :class:`Connection`."""
        self._decoder.close()


class Webcam:
    """A camera of this computer, read by OpenCV."""

    def __init__(self, number: int) -> None:
        # OpenCV reports every backend that failed.
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        self._capture = cv2.VideoCapture(number)
        self.claimed_rate = float(self._capture.get(cv2.CAP_PROP_FPS))

    def read(self) -> Image | None:
        """See :class:`Connection`."""
        arrived, image = self._capture.read()
        return np.asarray(image, np.uint8) if arrived else None

    def close(self) -> None:
        """See :class:`Connection`."""
        self._capture.release()
