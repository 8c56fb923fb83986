"""Going back to the footage: runs of frames of a video that was indexed, by their numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from glob import has_magic
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from reid_dhm.errors import InputError
from reid_dhm.gallery.frames import Span, open_capture
from reid_dhm.gallery.records import Video
from reid_dhm.gallery.sources import open_source

Image = NDArray[np.uint8]


def frames_of(
    video: Video, first: int = 0, last: int | None = None, moment: float | None = None
) -> Iterator[tuple[int, Image]]:
    """Frames of a video in order, decoded from where it was indexed.

    Args:
        video: of a gallery.
        first, last: numbers in the source, both included; to the end without ``last``.
        moment: seconds of frame ``first`` as the gallery has them, by which a jump to it is
            checked; without it every frame before is decoded.

    Yields:
        The number, and (H, W, 3) uint8 BGR.

    Raises:
        InputError: the source was a stream, is not there any more, cannot be decoded, or is
            another one now.
    """
    check_reachable(video)
    source = _video_file if Path(video.source).is_file() else _pictures
    for number, image in source(video, first, moment):
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


def _video_file(video: Video, first: int, moment: float | None) -> Iterator[tuple[int, Image]]:
    capture = open_capture(video.source)
    try:
        if not _jump(capture, video, first, moment):
            capture.release()
            capture = open_capture(video.source)
            for _ in range(first):
                if not capture.grab():
                    return
        number = first
        while capture.grab():
            decoded, image = capture.retrieve()
            if decoded:
                yield number, np.asarray(image, np.uint8)
            number += 1
    finally:
        capture.release()


def _jump(capture: cv2.VideoCapture, video: Video, first: int, moment: float | None) -> bool:
    """Go to a frame without decoding those before; False where that did not lead to it.

    Containers do not know frames by number: whether a jump led to the right one shows in its time.
    """
    if first == 0:
        return True
    claimed = capture.get(cv2.CAP_PROP_FPS)
    if moment is None or abs(claimed - video.fps) > 0.01 * video.fps or not capture.grab():
        return False  # with a rate that was given, the gallery's times are not the container's
    origin = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
    capture.set(cv2.CAP_PROP_POS_FRAMES, first)
    if not capture.grab():
        return False
    arrived = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000 - origin
    # Once more, as the frame has been taken.
    capture.set(cv2.CAP_PROP_POS_FRAMES, first)
    return abs(arrived - moment) < 0.5 / video.fps


def _pictures(video: Video, first: int, moment: float | None) -> Iterator[tuple[int, Image]]:
    source = open_source(video.source, video.fps)
    if source.info.hash != video.hash:
        raise InputError(f"{video.source} holds other pictures than were indexed")
    for frame in source.frames(Span(first=first)):
        yield frame.number, frame.image
