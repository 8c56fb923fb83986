"""Reads frames of one source by number: by seeking to their times, or by counting."""

from __future__ import annotations

import time
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from reid_dhm.gallery.footage.frames import Span, believable_rate, open_capture
from reid_dhm.gallery.footage.sources import ImageSequence
from reid_dhm.gallery.records import Video
from reid_dhm.service.errors import Busy
from reid_dhm.service.frames.frame_times import FrameTime

_PATIENCE = 8.0  # seconds of decoding for one frame
_NEAR = 64  # frames ahead that are decoded instead of seeking
_SAME = 0.0004  # seconds: largest difference between two readings of one frame's time

Image = NDArray[np.uint8]


class Reader(Protocol):
    """Frames of one source."""

    def __call__(self, number: int, known: FrameTime) -> Image | None:
        """A frame; None if it does not exist or cannot be decoded.

        Args:
            number: from 0.
            known: the time of this frame or of an earlier one.

        Returns:
            (H, W, 3) uint8 BGR.

        Raises:
            Busy: it takes too long; a later call goes on where decoding stopped.
        """
        ...


class VideoReader:
    """A video file: decodes on if the frame is near, and seeks by time otherwise.

    Containers do not index frames by number, and frame durations may vary: the time of the frame
    after a seek tells where it led. Where times are unusable, frames are counted from the first.

    Args:
        video: of the gallery; its source is a file.
    """

    def __init__(self, video: Video) -> None:
        self._video = video
        self._restart()
        claimed = believable_rate(float(self._capture.get(cv2.CAP_PROP_FPS)))
        # If the user gave a rate, the gallery's times are not the container's.
        self._jumps = abs(claimed - video.fps) < 0.01 * video.fps

    def __call__(self, number: int, known: FrameTime) -> Image | None:
        """See :class:`Reader`."""
        ends = time.monotonic() + _PATIENCE
        ahead = number - self._next
        near = ahead >= -1 and (ahead <= max(_NEAR, number - known.frame) or not self._jumps)
        if not near or (self._jumps and known.exact and not self._sure):
            self._go(known, ends)
        while self._next <= number:
            if time.monotonic() > ends:
                raise Busy(f"frame {number} is far from where decoding can begin: try again")
            if not self._grab():
                return None
        decoded, image = self._capture.retrieve()
        return np.asarray(image, np.uint8) if decoded else None

    def _restart(self) -> None:
        self._capture = open_capture(self._video.source)
        self._next, self._sure = 0, True  # number of the next frame, and whether it is exact
        self._origin = 0.0
        self._grab()
        self._origin = self._clock()

    def _go(self, known: FrameTime, ends: float) -> None:
        """Seek to a time, or to the start if that is near or seeking fails."""
        if not self._jumps or not self._land(known.time, ends):
            self._restart()
            return
        off = _SAME if known.exact else 0.5 / self._video.fps
        while self._clock() < known.time - off and time.monotonic() < ends and self._grab():
            pass
        self._next, self._sure = known.frame + 1, known.exact
        if abs(self._clock() - known.time) > off:  # other times than the gallery's, or too far
            self._jumps = False
            self._restart()

    def _land(self, target: float, ends: float) -> bool:
        """Seek to before a time, further back until it is reached; False for the start."""
        back = 0.0
        while target > back:
            if time.monotonic() > ends:
                self._jumps = False
                return False
            self._capture.set(cv2.CAP_PROP_POS_MSEC, (self._origin + target - back) * 1000)
            if self._grab() and self._clock() <= target + _SAME:
                return True
            back = 2 * back + 1
        return False

    def _grab(self) -> bool:
        grabbed = bool(self._capture.grab())
        self._next += grabbed
        return grabbed

    def _clock(self) -> float:
        """Time of the last frame, in seconds from the first one."""
        return float(self._capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000 - self._origin


class ImageReader:
    """Images in the order in which they were indexed.

    Args:
        images: the source.
    """

    def __init__(self, images: ImageSequence) -> None:
        self._images = images

    def __call__(self, number: int, known: FrameTime) -> Image | None:
        """See :class:`Reader`."""
        frame = next(self._images.frames(Span(first=number)), None)
        return frame.image if frame is not None and frame.number == number else None
