"""Decodes single frames of the gallery's videos while their sources are available."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from glob import glob
from pathlib import Path

import cv2
import numpy as np

from reid_dhm.data.listing import list_images
from reid_dhm.errors import InputError, NotFoundError
from reid_dhm.gallery.footage.addresses import is_address
from reid_dhm.gallery.footage.frames import Image
from reid_dhm.gallery.footage.seeking import (
    START,
    ChangedSourceError,
    FrameTime,
    Reader,
    is_available,
    open_reader,
)
from reid_dhm.gallery.records import Video
from reid_dhm.service.errors import Busy, Problem

_KEPT_OPEN = 4
_KEPT_FRAMES = 64
_AT_ONCE = 4  # videos that are decoded at the same time
_PATIENCE = 10.0  # seconds to wait for others' frames
_DECODING_PATIENCE = 8.0  # seconds of decoding for one frame
_QUALITY = 88


class Frames:
    """Decodes frames, one at a time per video, and caches the last ones as JPEG.

    A source is hashed once, to check that it is what was indexed, and again whenever its files
    have changed. :meth:`forget` closes all files and empties the cache.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # of the tables; not held while anything is read
        self._decoding = threading.BoundedSemaphore(_AT_ONCE)
        self.forget()

    def jpeg(self, video: Video, number: int, known: FrameTime = START) -> bytes:
        """A frame as JPEG.

        Args:
            video: of the gallery.
            number: of the frame, from 0.
            known: the time of this frame or of an earlier one.

        Raises:
            Problem: the source is not available, has changed, or has no such frame.
            Busy: this frame or others take too long; a later call goes on.
        """
        key = (video.hash, number)
        with self._lock:
            jpegs, footage = self._jpegs, self._footage
            if key in jpegs:
                jpegs.move_to_end(key)
                return jpegs[key]
            place = (video.hash, video.source)
            footage[place] = shown = footage.pop(place, None) or _Footage(video)
            for other in list(footage.values())[:-_KEPT_OPEN]:
                other.reader = None  # the file is closed when its last user is done
        with _turn(shown.lock):
            shown.check()
            with _turn(self._decoding):
                jpeg = encode(shown.frame(number, known))
        with self._lock:
            jpegs[key] = jpeg
            while len(jpegs) > _KEPT_FRAMES:
                jpegs.popitem(last=False)
        return jpeg

    def image(self, video: Video, number: int, known: FrameTime = START) -> Image:
        """The same image as :meth:`jpeg`'s, as (H, W, 3) uint8 BGR."""
        data = np.frombuffer(self.jpeg(video, number, known), np.uint8)
        return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)

    def forget(self) -> None:
        """Close all sources and empty the cache, frames in progress included."""
        with self._lock:
            self._footage: OrderedDict[tuple[str, str], _Footage] = OrderedDict()
            self._jpegs: OrderedDict[tuple[str, int], bytes] = OrderedDict()


class _Footage:
    """The source of a video, and whether it is still what was indexed."""

    def __init__(self, video: Video) -> None:
        self.lock = threading.Lock()
        self.reader: Reader | None = None
        self._video = video
        self._marks: object = None
        self._is_other = False

    def check(self) -> None:
        """Raise a 404 if the source is not what was indexed."""
        if not is_available(self._video):
            raise Problem(404, _missing(self._video))
        try:
            marks = _marks(self._video.source)
            if marks != self._marks:
                self.reader, self._marks, self._is_other = None, None, False
                try:
                    self.reader = open_reader(self._video, check_content=True)
                except ChangedSourceError:
                    self._is_other = True
                self._marks = marks
        except (OSError, NotFoundError):  # removed in the meantime
            raise Problem(404, _missing(self._video)) from None
        except InputError:
            raise Problem(404, f"{source_name(self._video)} cannot be decoded") from None
        if self._is_other:
            raise Problem(
                404,
                f"{source_name(self._video)} has changed since it was indexed: restore it to see "
                "its frames; its crops are in the gallery",
            )

    def frame(self, number: int, known: FrameTime) -> Image:
        """A frame; raises a 404 if it cannot be decoded."""
        ends = time.monotonic() + _DECODING_PATIENCE

        def check() -> None:
            if time.monotonic() > ends:
                raise Busy(f"frame {number} is far from where decoding can begin: try again")

        if (reader := self.reader) is None:
            self.reader = reader = open_reader(self._video)
        image = reader.read(number, known, check)
        if image is None:
            raise Problem(404, f"frame {number} of {source_name(self._video)} cannot be decoded")
        return image


def _marks(source: str) -> object:
    """A value that changes whenever the files of a source do."""
    path = Path(source)
    if path.is_file():
        files = [path]
    elif path.is_dir():
        files = list_images(path)
    else:
        files = [Path(name) for name in sorted(glob(source))]  # noqa: PTH207 (absolute patterns)
    stats = [(str(file), file.stat()) for file in files]
    return [(name, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for name, s in stats]


@contextmanager
def _turn(lock: threading.Lock | threading.Semaphore) -> Iterator[None]:
    if not lock.acquire(timeout=_PATIENCE):
        raise Busy("other frames are being decoded: try again")
    try:
        yield
    finally:
        lock.release()


def encode(image: Image) -> bytes:
    """JPEG of a (H, W, 3) uint8 BGR image."""
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return data.tobytes()


def source_name(video: Video) -> str:
    """The name of a source, without the server's folders."""
    return video.source if is_address(video.source) else Path(video.source).name


def _missing(video: Video) -> str:
    if not video.resumable or is_address(video.source):
        return (
            f"{source_name(video)} was read from a camera or the network: only its crops are kept"
        )
    return (
        f"{source_name(video)} is missing: restore it to where it was indexed to see its frames; "
        "its crops are in the gallery"
    )
