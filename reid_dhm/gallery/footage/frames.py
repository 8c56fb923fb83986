"""A frame, and what a source of frames is to those who read it. Sources are in ``sources``."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

MAX_FPS = 1000.0
_DEFAULT_FPS = 25.0  # for what claims nothing believable


class Frame(NamedTuple):
    """One frame.

    Attributes:
        number: its place in the source, from 0.
        time: seconds from the source's first frame.
        image: (H, W, 3) uint8 BGR, as OpenCV decodes it.
    """

    number: int
    time: float
    image: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What is known before the first frame is processed.

    Attributes:
        hash: of the content, 16 hexadecimal digits; for a stream of its address and the moment.
        name: absolute path or pattern, or address without credentials.
        fps: frames a second.
        width, height: in pixels.
        num_frames: as the container claims; None if it does not say.
        live: whether frames pass by and cannot be read again.
    """

    hash: str
    name: str
    fps: float
    width: int
    height: int
    num_frames: int | None
    live: bool


@dataclass(frozen=True, slots=True)
class Span:
    """Which frames of a source are wanted.

    Attributes:
        first: number of the first.
        stride: of every so many frames, one: those whose number it divides.
        begin, end: seconds from the source's first frame; ``end`` itself is out.
    """

    first: int = 0
    stride: int = 1
    begin: float = 0.0
    end: float = math.inf

    def wants(self, number: int, time: float) -> bool:
        """Whether a frame is one of them."""
        return number >= self.first and number % self.stride == 0 and self.begin <= time < self.end


class Source(Protocol):
    """Gives frames in order."""

    @property
    def info(self) -> SourceInfo:
        """What is known before the first frame."""
        ...

    def frames(self, span: Span) -> Iterator[Frame]:
        """Every frame that is wanted; others are decoded as little as can be."""
        ...


def believable_rate(fps: float) -> float:
    """Frames a second as claimed, or 25 where the claim makes no sense."""
    return fps if math.isfinite(fps) and 0 < fps <= MAX_FPS else _DEFAULT_FPS


def open_capture(address: str | int) -> cv2.VideoCapture:
    """Open whatever OpenCV opens, without its remarks; the caller releases it."""
    # FFmpeg reports every damaged packet, and OpenCV every backend that failed; what counts is
    # what we say.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        return cv2.VideoCapture(address)
    finally:
        cv2.utils.logging.setLogLevel(level)
