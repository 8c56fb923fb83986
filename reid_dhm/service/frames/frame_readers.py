"""Frames of one source by number: found by their times, or counted."""

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
from reid_dhm.service.frames.frame_times import Moment

_PATIENCE = 8.0  # seconds of decoding for one frame
_NEAR = 64  # frames ahead that are decoded rather than jumped over
_SAME = 0.0004  # seconds by which two readings of one frame's time differ at most

Image = NDArray[np.uint8]


class Reader(Protocol):
    """Frames of one source."""

    def __call__(self, number: int, moment: Moment) -> Image | None:
        """A frame; None where there is no such frame, or it cannot be decoded.

        Args:
            number: from 0.
            moment: of this frame or of one before.

        Returns:
            (H, W, 3) uint8 BGR.

        Raises:
            Busy: it takes too long; asked again, decoding goes on where it stopped.
        """
        ...


class VideoReader:
    """A video file: decodes on where that is near, and jumps by time elsewhere.

    Containers do not know frames by number, and frames may be of uneven length: where a jump led
    shows in the time of the frame there. Where times do not tell, frames are counted from the
    first.

    Args:
        video: of the gallery; its source is a file.
    """

    def __init__(self, video: Video) -> None:
        self._video = video
        self._restart()
        claimed = believable_rate(float(self._capture.get(cv2.CAP_PROP_FPS)))
        # With a rate that was given, times in the gallery are not the container's.
        self._jumps = abs(claimed - video.fps) < 0.01 * video.fps

    def __call__(self, number: int, moment: Moment) -> Image | None:
        """See :class:`Reader`."""
        ends = time.monotonic() + _PATIENCE
        ahead = number - self._next
        near = ahead >= -1 and (ahead <= max(_NEAR, number - moment.frame) or not self._jumps)
        if not near or (self._jumps and moment.known and not self._sure):
            self._go(moment, ends)
        while self._next <= number:
            if time.monotonic() > ends:
                raise Busy(f"frame {number} is far from where decoding can begin: try again")
            if not self._grab():
                return None
        decoded, image = self._capture.retrieve()
        return np.asarray(image, np.uint8) if decoded else None

    def _restart(self) -> None:
        self._capture = open_capture(self._video.source)
        self._next, self._sure = 0, True  # number of the frame that comes next; whether it is that
        self._origin = 0.0
        self._grab()
        self._origin = self._clock()

    def _go(self, moment: Moment, ends: float) -> None:
        """Go to a moment, or to the start where that is near or where jumps lead nowhere."""
        if not self._jumps or not self._land(moment.time, ends):
            self._restart()
            return
        off = _SAME if moment.known else 0.5 / self._video.fps
        while self._clock() < moment.time - off and time.monotonic() < ends and self._grab():
            pass
        self._next, self._sure = moment.frame + 1, moment.known
        if abs(self._clock() - moment.time) > off:  # not the times that the gallery has, or too far
            self._jumps = False
            self._restart()

    def _land(self, moment: float, ends: float) -> bool:
        """Jump to somewhere before a moment, further back until it is; False for the start."""
        back = 0.0
        while moment > back:
            if time.monotonic() > ends:
                self._jumps = False
                return False
            self._capture.set(cv2.CAP_PROP_POS_MSEC, (self._origin + moment - back) * 1000)
            if self._grab() and self._clock() <= moment + _SAME:
                return True
            back = 2 * back + 1
        return False

    def _grab(self) -> bool:
        grabbed = bool(self._capture.grab())
        self._next += grabbed
        return grabbed

    def _clock(self) -> float:
        """Time of the frame that was taken last, in seconds from the first one."""
        return float(self._capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000 - self._origin


class ImageReader:
    """Images in the order in which they were indexed.

    Args:
        images: the source.
    """

    def __init__(self, images: ImageSequence) -> None:
        self._images = images

    def __call__(self, number: int, moment: Moment) -> Image | None:
        """See :class:`Reader`."""
        frame = next(self._images.frames(Span(first=number)), None)
        return frame.image if frame is not None and frame.number == number else None
