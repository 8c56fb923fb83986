"""A frame, a span of frames, and the interface of a source of frames."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Image: TypeAlias = "NDArray[np.uint8]"
"""(H, W, 3) uint8 BGR, as OpenCV decodes it."""

MIN_FPS, MAX_FPS = 1e-5, 1000.0
DEFAULT_FPS = 25.0  # where neither the header nor the frames' times tell


class Frame(NamedTuple):
    """One frame.

    Attributes:
        number: its index in the source, from 0.
        time: seconds from the source's first frame.
        image: (H, W, 3) uint8 BGR.
    """

    number: int
    time: float
    image: Image


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What is known before the first frame is processed.

    Attributes:
        hash: of the content, 16 hexadecimal digits; for a stream, of its address and the time of
            opening.
        name: absolute path or pattern, or address without credentials.
        fps: frames per second.
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
        stride: only frames whose number is a multiple of it.
        begin, end: seconds from the source's first frame; ``end`` is excluded.
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
        """The frames of a span, in order; closing the iterator closes the source."""
        ...

    def stop(self) -> None:
        """Let :meth:`frames` end soon; called from another thread."""
        ...
