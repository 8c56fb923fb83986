"""Single frames of the gallery's videos, decoded from their sources while those can be reached."""

from __future__ import annotations

import re
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from glob import has_magic
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from reid_dhm.errors import InputError
from reid_dhm.gallery.frames import Span, open_capture
from reid_dhm.gallery.records import Video
from reid_dhm.gallery.sources import Pictures, open_source
from reid_dhm.service.problems import Busy, Problem

_KEPT_OPEN = 4
_KEPT_FRAMES = 64
_PATIENCE = 10.0  # seconds to wait for others' frames
_LONGEST_COUNT = 30.0  # seconds of decoding for one frame
_NEAR = 64  # frames ahead that are decoded rather than jumped over
_QUALITY = 88

Image = NDArray[np.uint8]


class Frames:
    """Decodes frames, one at a time, and keeps the last ones.

    What is kept open or in memory is forgotten by :meth:`forget`.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._readers: OrderedDict[str, _Reader] = OrderedDict()
        self._jpegs: OrderedDict[tuple[str, int], bytes] = OrderedDict()

    def jpeg(self, video: Video, number: int, moment: float | None = None) -> bytes:
        """A frame as JPEG; arguments and errors as of :meth:`image`."""
        with self._turn():
            key = (video.hash, number)
            if key not in self._jpegs:
                self._jpegs[key] = encode(self._decode(video, number, moment))
                while len(self._jpegs) > _KEPT_FRAMES:
                    self._jpegs.popitem(last=False)
            self._jpegs.move_to_end(key)
            return self._jpegs[key]

    def image(self, video: Video, number: int, moment: float | None = None) -> Image:
        """A frame.

        Args:
            video: of the gallery.
            number: of the frame, from 0.
            moment: when the frame is, in seconds from the first one, if the gallery knows.

        Returns:
            (H, W, 3) uint8 BGR.

        Raises:
            Problem: the source cannot be reached, is another one now, or has no such frame.
            Busy: other frames take too long.
        """
        with self._turn():
            return self._decode(video, number, moment)

    def forget(self) -> None:
        """Close all sources and drop all frames."""
        with self._lock:
            for reader in self._readers.values():
                reader.close()
            self._readers.clear()
            self._jpegs.clear()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._lock.acquire(timeout=_PATIENCE):
            raise Busy("other frames are being decoded: try again")
        try:
            yield
        finally:
            self._lock.release()

    def _decode(self, video: Video, number: int, moment: float | None) -> Image:
        if not can_be_reached(video):
            raise Problem(404, _why_not(video))
        try:
            image = self._reader(video)(number, moment)
        except InputError:
            image = None
        if image is None:
            self._close(video.source)
            raise Problem(404, f"frame {number} of {source_name(video)} cannot be decoded")
        if image.shape[:2] != (video.height, video.width):
            self._close(video.source)
            raise Problem(
                404,
                f"{source_name(video)} is not the video that was indexed: its frames have "
                f"{image.shape[1]}×{image.shape[0]} pixels instead of {video.width}×{video.height}",
            )
        return image

    def _reader(self, video: Video) -> _Reader:
        reader = self._readers.pop(video.source, None) or _open(video)
        self._readers[video.source] = reader
        while len(self._readers) > _KEPT_OPEN:
            self._readers.popitem(last=False)[1].close()
        return reader

    def _close(self, source: str) -> None:
        if reader := self._readers.pop(source, None):
            reader.close()


class _Reader:
    """Frames of one source by number."""

    def __call__(self, number: int, moment: float | None) -> Image | None:
        raise NotImplementedError

    def close(self) -> None:
        """Let go of files."""


class _VideoReader(_Reader):
    """A video file: decodes on where that is near, jumps elsewhere, and checks where it came."""

    def __init__(self, video: Video) -> None:
        self._video = video
        self._capture = open_capture(video.source)
        self._next = 0  # number of the frame that comes next
        claimed = self._capture.get(cv2.CAP_PROP_FPS)
        # With a rate that was given, times in the gallery are not the container's.
        self._has_clock = abs(claimed - video.fps) < 0.01 * video.fps
        self._origin = 0.0
        if self._grab():
            self._origin = self._clock()

    def __call__(self, number: int, moment: float | None) -> Image | None:
        if not self._next - 1 <= number <= self._next + _NEAR:
            self._jump(number)
        found = self._count_to(number)
        if found and moment is not None and self._has_clock and not self._is_at(moment):
            # Frames of uneven length: only counting from the first one tells which is which.
            self._restart()
            found = self._count_to(number)
        if not found:
            return None
        decoded, image = self._capture.retrieve()
        return np.asarray(image, np.uint8) if decoded else None

    def close(self) -> None:
        self._capture.release()

    def _count_to(self, number: int) -> bool:
        """Grab frames up to this one; False where the video ends before."""
        ends = time.monotonic() + _LONGEST_COUNT
        while self._next <= number:
            if time.monotonic() > ends:
                raise Busy(f"frame {number} of {source_name(self._video)} takes too long to reach")
            if not self._grab():
                return False
        return True

    def _grab(self) -> bool:
        grabbed = bool(self._capture.grab())
        self._next += grabbed
        return grabbed

    def _jump(self, number: int) -> None:
        self._capture.set(cv2.CAP_PROP_POS_FRAMES, number)
        self._next = number

    def _restart(self) -> None:
        self._capture.release()
        self._capture = open_capture(self._video.source)
        self._next = 0

    def _clock(self) -> float:
        return float(self._capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000

    def _is_at(self, moment: float) -> bool:
        return abs(self._clock() - self._origin - moment) < 0.5 / self._video.fps


class _PictureReader(_Reader):
    """A folder or pattern of pictures."""

    def __init__(self, video: Video) -> None:
        source = open_source(video.source, video.fps)
        if not isinstance(source, Pictures) or source.info.hash != video.hash:
            raise Problem(404, f"{source_name(video)} holds other pictures than were indexed")
        self._source = source

    def __call__(self, number: int, moment: float | None) -> Image | None:
        frame = next(self._source.frames(Span(first=number)), None)
        return frame.image if frame is not None and frame.number == number else None


def _open(video: Video) -> _Reader:
    return _VideoReader(video) if Path(video.source).is_file() else _PictureReader(video)


def encode(image: Image) -> bytes:
    """JPEG of a (H, W, 3) uint8 BGR picture."""
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return data.tobytes()


def can_be_reached(video: Video) -> bool:
    """Whether the source of a video is there; its frames may still turn out to be others."""
    if not video.resumable or _is_address(video.source):
        return False
    if has_magic(video.source) and not Path(video.source).exists():
        return Path(re.split(r"[*?\[]", video.source, maxsplit=1)[0]).parent.is_dir()
    return Path(video.source).exists()


def source_name(video: Video) -> str:
    """What people call a source: its name, without the folders on the server."""
    return video.source if _is_address(video.source) else Path(video.source).name


def _why_not(video: Video) -> str:
    if not video.resumable or _is_address(video.source):
        return f"{source_name(video)} was a live stream: its frames were not kept, its crops were"
    return (
        f"{source_name(video)} is no longer where it was indexed: put it back to see its frames; "
        "its crops are in the gallery"
    )


def _is_address(source: str) -> bool:
    return re.match(r"[a-z][a-z0-9+.-]*://", source, re.IGNORECASE) is not None
