"""Going back to the footage: runs of frames of a video that was indexed, by their numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from glob import has_magic
from math import nan
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from reid_dhm.errors import InputError
from reid_dhm.gallery.footage.frames import Span, believable_rate, open_capture
from reid_dhm.gallery.footage.sources import content_hash, open_source
from reid_dhm.gallery.records import Video

Image = NDArray[np.uint8]

_SAME = 0.001  # seconds within which two times are those of one frame
_EARLIER = 2.0  # frames that a jump aims before where it is to lead, as it may lead too far


def frames_of(
    video: Video,
    first: int = 0,
    last: int | None = None,
    moment: float | None = None,
    lead: float = 0.0,
) -> Iterator[tuple[int, Image]]:
    """Frames of a video in order, decoded from where it was indexed.

    Args:
        video: of a gallery.
        first, last: numbers in the source, both included; to the end without ``last``.
        moment: seconds of frame ``first`` as the gallery has them, by which it is found; without
            it every frame before is decoded.
        lead: seconds before ``first`` to begin at, about.

    Yields:
        The number, and (H, W, 3) uint8 BGR.

    Raises:
        InputError: the source was a stream, is not there any more, cannot be decoded, or is
            another one now.
    """
    check_reachable(video)
    source = _video_file if Path(video.source).is_file() else _images
    for number, image in source(video, first, moment, lead):
        if last is not None and number > last:
            return
        if image.shape[:2] != (video.height, video.width):
            raise InputError(
                f"{video.source} is not the video that was indexed: its frames have "
                f"{image.shape[1]}x{image.shape[0]} pixels instead of {video.width}x{video.height}"
            )
        yield number, image


def check_reachable(video: Video) -> None:
    """Refuse a source that is not there.

    Raises:
        InputError: it was a stream, or is not where it was.
    """
    if not video.resumable or re.match(r"[a-z][a-z0-9+.-]*://", video.source, re.IGNORECASE):
        raise InputError(f"{video.source} was a live stream: its frames were not kept")
    path = Path(video.source)
    if has_magic(video.source):
        # The folder that the pattern begins in; files come and go.
        path = Path(re.split(r"[*?\[]", video.source, maxsplit=1)[0] + "_").parent
    if not (path.exists() or Path(video.source).exists()):
        raise InputError(
            f"{video.source} is no longer where it was indexed: put it back to see its frames"
        )


def _video_file(
    video: Video, first: int, moment: float | None, lead: float
) -> Iterator[tuple[int, Image]]:
    if content_hash([Path(video.source)]) != video.hash:
        raise InputError(f"{video.source} is another video than the one that was indexed")
    begin = max(0, first - round(lead * video.fps))
    capture = open_capture(video.source)
    try:
        number = _go_to(capture, video, first, moment, lead) if begin else None
        grabbed = number is not None
        if number is None:
            capture.release()
            capture = open_capture(video.source)
            number, grabbed = begin, all(capture.grab() for _ in range(begin + 1))
        while grabbed:
            decoded, image = capture.retrieve()
            if decoded:
                yield number, np.asarray(image, np.uint8)
            grabbed = capture.grab()
            number += 1
    finally:
        capture.release()


def _go_to(
    capture: cv2.VideoCapture, video: Video, first: int, moment: float | None, lead: float
) -> int | None:
    """Grab the frame ``lead`` seconds before a known one, without decoding all that come before.

    Containers do not know frames by number, and frames may be of uneven length. So a jump goes to a
    time before it, and the frames from there to the known one are counted.

    Returns:
        Number of the frame that was grabbed; None where that cannot be told.
    """
    claimed = believable_rate(float(capture.get(cv2.CAP_PROP_FPS)))
    if moment is None or abs(claimed - video.fps) > 0.01 * video.fps or not capture.grab():
        return None  # with a rate that was given, the gallery's times are not the container's
    origin = _clock(capture)
    begin = max(0.0, moment - lead) - _SAME
    back = _EARLIER / video.fps
    while not (arrived := _jump(capture, begin - back, origin)) <= begin:
        if back > begin:
            return None
        back *= 2  # frames are scarcer than the container says, and it went too far
    times = [arrived]
    while times[-1] < moment - _SAME and capture.grab():
        times.append(_clock(capture) - origin)
    if abs(times[-1] - moment) > _SAME:
        return None
    after = sum(time >= begin for time in times)
    if after > 1:
        again = _jump(capture, begin - back, origin)
        if again != arrived or not all(capture.grab() for _ in range(len(times) - after)):
            return None
    return max(0, first + 1 - after)


def _jump(capture: cv2.VideoCapture, time: float, origin: float) -> float:
    """Grab some frame about a time; when it is, NaN where there is none."""
    capture.set(cv2.CAP_PROP_POS_MSEC, 1000 * max(0.0, origin + time))
    return _clock(capture) - origin if capture.grab() else nan


def _clock(capture: cv2.VideoCapture) -> float:
    return float(capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000


def _images(
    video: Video, first: int, moment: float | None, lead: float
) -> Iterator[tuple[int, Image]]:
    source = open_source(video.source, video.fps)
    if source.info.hash != video.hash:
        raise InputError(f"{video.source} holds other images than were indexed")
    for frame in source.frames(Span(first=max(0, first - round(lead * video.fps)))):
        yield frame.number, frame.image
