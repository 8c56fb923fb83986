"""Where frames come from: video files and images in order; streams are in ``streams``.

Detecting people in them is left to others.
"""

from __future__ import annotations

import hashlib
import logging
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from glob import glob, has_magic
from pathlib import Path

import cv2
import numpy as np

from reid_dhm.data.images import read_image
from reid_dhm.data.listing import IMAGE_SUFFIXES, list_images
from reid_dhm.errors import InputError
from reid_dhm.gallery.footage.frames import (
    MAX_FPS,
    Frame,
    Source,
    SourceInfo,
    Span,
    believable_rate,
    open_capture,
)
from reid_dhm.gallery.footage.streams import Stream

logger = logging.getLogger(__name__)

_LEAP = 10.0  # seconds between frames that no container's clock is believed
_BLOCK = 2**20


def open_source(text: str, fps: float | None = None, patience: float = 300.0) -> Source:
    """Open what a user calls a source.

    Args:
        text: a video file, a folder or glob of images, the address of a stream, or the number of
            a webcam.
        fps: of images, which have no clock; for videos it overrules a wrong one.
        patience: seconds to wait for a stream that is gone before giving up.

    Raises:
        InputError: nothing there, nothing that can be decoded, or images without ``fps``.
    """
    if fps is not None and not 0 < fps <= MAX_FPS:
        raise InputError(f"--fps is {fps}: give frames a second, above 0 and up to {MAX_FPS:g}")
    if text.isdigit() and not Path(text).exists():
        return Stream(int(text), fps, patience)
    if re.match(r"[a-z][a-z0-9+.-]*://", text, re.IGNORECASE):
        return Stream(text, fps, patience)
    path = Path(text).expanduser()
    if path.is_dir():
        return ImageSequence(str(path), list_images(path), fps)
    if path.is_file():
        return VideoFile(path, fps)
    if has_magic(text):
        found = [Path(name) for name in glob(str(path))]  # noqa: PTH207 (absolute patterns)
        return ImageSequence(text, [p for p in found if p.suffix.lower() in IMAGE_SUFFIXES], fps)
    raise InputError(
        f"{text} is not there: give a video, a folder or pattern of frames, a stream's address or "
        "a webcam's number"
    )


class VideoFile:
    """A video file. Frames are numbered as they are decoded; times are the container's where sane.

    A container's time is believed while it grows, by ten seconds a frame at the most; otherwise
    the frame counts as one frame's duration after the one before.
    """

    def __init__(self, path: Path, fps: float | None = None) -> None:
        self._path = path.resolve()
        self._own_clock = fps is None
        with _capture(self._path) as capture:
            opened = capture.isOpened() and capture.grab()
            if not opened:
                raise InputError(f"{path} cannot be decoded: it is no video, or damaged")
            rate = fps or believable_rate(capture.get(cv2.CAP_PROP_FPS))
            count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
            decoded, first = capture.retrieve()
            if not decoded:
                raise InputError(f"{path} cannot be decoded: its first frame is damaged")
        height, width = first.shape[:2]
        self.info = SourceInfo(
            content_hash([self._path]),
            str(self._path),
            rate,
            width,
            height,
            count if count > 0 else None,
            live=False,
        )

    def frames(self, span: Span) -> Iterator[Frame]:
        """See :class:`Source`; warns when the file ends before its time."""
        step = 1 / self.info.fps
        number, origin, now = 0, 0.0, -step
        with _capture(self._path) as capture:
            while capture.grab():
                clock = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000 if self._own_clock else math.nan
                if number == 0:
                    origin = clock
                told = clock - origin
                now = told if now < told <= now + _LEAP else now + step
                if now >= span.end:
                    return
                if span.wants(number, now):
                    decoded, image = capture.retrieve()
                    if decoded:
                        yield Frame(number, now, np.asarray(image, np.uint8))
                number += 1
        claimed = self.info.num_frames
        if claimed is not None and number < claimed - max(1, claimed // 100):
            logger.warning(
                "%s ends after %d of %d frames: it is cut off or damaged; what it holds is taken",
                *(self.info.name, number, claimed),
            )


class ImageSequence:
    """Image files in natural order of their names (2 before 10), at a steady rate."""

    def __init__(self, name: str, paths: list[Path], fps: float | None) -> None:
        if not paths:
            raise InputError(f"{name} holds no images: give the folder or pattern of the frames")
        if fps is None:
            raise InputError(f"{name} holds images, which have no clock: give --fps")
        self._paths = sorted((path.resolve() for path in paths), key=_natural)
        height, width = read_image(self._paths[0]).shape[:2]
        name = str(Path(name).expanduser().absolute())
        self.info = SourceInfo(
            content_hash(self._paths), name, fps, width, height, len(self._paths), live=False
        )

    def frames(self, span: Span) -> Iterator[Frame]:
        """See :class:`Source`; warns of images that cannot be read and leaves them out."""
        for number, path in enumerate(self._paths):
            if span.wants(number, number / self.info.fps):
                try:
                    image = read_image(path)
                except InputError as error:
                    logger.warning("left out: %s", error)
                    continue
                yield Frame(number, number / self.info.fps, image[:, :, ::-1].copy())


def content_hash(paths: Sequence[Path]) -> str:
    """16 hexadecimal digits of BLAKE2b over the bytes of files, in order.

    Files are read once: until their size or one of their times changes, the answer is remembered.
    """
    stats = [path.stat() for path in paths]
    return _content_hash(
        tuple(
            (path, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
            for path, stat in zip(paths, stats, strict=True)
        )
    )


@lru_cache(maxsize=32)
def _content_hash(files: tuple[tuple[Path, int, int, int], ...]) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for path, size, *_ in files:
        if len(files) > 1:  # so that no two sequences of images read the same
            digest.update(size.to_bytes(8, "little"))
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    return digest.hexdigest()


def _natural(path: Path) -> list[tuple[int, int, str]]:
    """A sorting key that puts 2 before 10."""
    parts = re.split(r"(\d+)", str(path))
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]


@contextmanager
def _capture(path: Path) -> Iterator[cv2.VideoCapture]:
    capture = open_capture(str(path))
    try:
        yield capture
    finally:
        capture.release()
