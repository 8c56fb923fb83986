"""Frames of indexed videos by number, decoded from their sources without reading what is before."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import closing
from glob import has_magic, iglob
from pathlib import Path
from typing import NamedTuple, TypeAlias

import av

from reid_dhm.errors import InputError, NotFoundError
from reid_dhm.gallery.footage.addresses import is_address
from reid_dhm.gallery.footage.decoding.decoder import VideoDecoder
from reid_dhm.gallery.footage.frames import Image, Span
from reid_dhm.gallery.footage.hashing import content_hash
from reid_dhm.gallery.footage.image_sequence import ImageSequence
from reid_dhm.gallery.footage.sources import open_source
from reid_dhm.gallery.records import Video

_SAME = 0.0004  # seconds by which two readings of one frame's time differ at most
_NEAR = 64  # frames ahead that are decoded rather than jumped over

Check: TypeAlias = Callable[[], None]
"""Called before every frame that is decoded on the way; raises to interrupt."""


class ChangedSourceError(InputError):
    """A source is not what was indexed."""


class FrameTime(NamedTuple):
    """A frame and its time, by which a reader seeks to it or to a later one.

    Attributes:
        frame: its number, from 0.
        time: seconds from the video's first frame.
        exact: whether the gallery holds this time; otherwise it is interpolated.
    """

    frame: int
    time: float
    exact: bool = True


START = FrameTime(0, 0.0)


def frames_of(
    video: Video,
    first: int = 0,
    last: int | None = None,
    moment: float | None = None,
    lead: float = 0.0,
) -> Iterator[tuple[int, Image]]:
    """Frames of a video in order.

    Args:
        video: of a gallery.
        first, last: numbers in the source, both included; to the end without ``last``.
        moment: seconds of frame ``first``, by which it is found; without it every frame before it
            is decoded.
        lead: seconds before ``first`` to begin at, about.

    Yields:
        The number, and (H, W, 3) uint8 BGR.

    Raises:
        NotFoundError: the source is no longer where it was indexed.
        InputError: the source was a stream, cannot be decoded or has changed.
    """
    check_available(video)
    with closing(open_reader(video, check_content=True)) as reader:
        known = None if moment is None else FrameTime(first, moment)
        for number, image in reader.frames(first, known, lead):
            if last is not None and number > last:
                return
            if image.shape[:2] != (video.height, video.width):
                raise InputError(
                    f"{video.source} is not the video that was indexed: its frames have "
                    f"{image.shape[1]}x{image.shape[0]} pixels instead of "
                    f"{video.width}x{video.height}"
                )
            yield number, image


def is_available(video: Video) -> bool:
    """Whether the source of a video is still there; its content may have changed."""
    if not video.resumable or is_address(video.source):
        return False
    if has_magic(video.source) and not Path(video.source).exists():
        return any(iglob(video.source))  # noqa: PTH207 (absolute patterns)
    return Path(video.source).exists()


def check_available(video: Video) -> None:
    """Refuse a source that cannot be read again.

    Raises:
        InputError: it was a stream or on the network.
        NotFoundError: it is no longer where it was.
    """
    if not video.resumable:
        raise InputError(f"{video.source} was a live stream: its frames were not kept")
    if is_address(video.source):
        raise InputError(f"{video.source} was read from the network: its frames were not kept")
    if not is_available(video):
        raise NotFoundError(
            f"{video.source} is no longer where it was indexed: put it back to see its frames"
        )


def open_reader(video: Video, check_content: bool = False) -> Reader:
    """A reader of the frames of a video.

    Args:
        video: of a gallery; its source is there.
        check_content: read the whole source, and refuse it if it has changed.

    Raises:
        InputError: the source cannot be decoded.
        ChangedSourceError: it has changed.
    """
    if Path(video.source).is_file():
        if check_content and content_hash([Path(video.source)]) != video.hash:
            raise ChangedSourceError(
                f"{video.source} is another video than the one that was indexed"
            )
        return VideoReader(video)
    images = open_source(video.source, video.fps)
    if not isinstance(images, ImageSequence):
        raise InputError(f"{video.source} no longer holds images")
    if check_content and images.info.hash != video.hash:
        raise ChangedSourceError(f"{video.source} holds other images than were indexed")
    return ImageReader(video, images)


class VideoReader:
    """Frames of a video file by number: decodes onwards where that is near, and seeks elsewhere.

    Containers do not know frames by number, and frames may be of uneven length: a frame is found by
    its time in the gallery. Where times do not lead to it, frames are counted from the first.

    Args:
        video: of a gallery; its source is a file.

    Raises:
        InputError: it cannot be decoded.
    """

    def __init__(self, video: Video) -> None:
        self._video = video
        with closing(VideoDecoder(video.source)) as decoder:
            rate, _ = decoder.sample()
        # With a rate that was given, times in the gallery are not the container's.
        self._seeks = abs(rate - video.fps) < 0.01 * video.fps
        self._decoder = VideoDecoder(video.source, threads="SLICE")
        self._restart()

    def close(self) -> None:
        """Close the file."""
        self._decoder.close()

    def read(self, number: int, known: FrameTime, check: Check) -> Image | None:
        """A frame; None if there is no such frame.

        Args:
            number: from 0.
            known: the time of this frame or of an earlier one.
            check: may interrupt; the next call continues.
        """
        ahead = number - self._number
        near = ahead >= 0 and (ahead <= max(_NEAR, number - known.frame) or not self._seeks)
        if not near or (self._seeks and known.exact and not self._sure):
            self._go(known, 0.0, check)
        while self._number < number:
            check()
            if not self._advance():
                return None
        return None if self._frame is None else self._decoder.image(self._frame)

    def frames(
        self, first: int, known: FrameTime | None, lead: float
    ) -> Iterator[tuple[int, Image]]:
        """All frames from ``lead`` seconds before ``first``, whose time is ``known``."""
        begin = max(0, first - round(lead * self._video.fps))
        if begin and known is not None and self._go(known, lead, lambda: None):
            begin = self._number
        while self._number < begin:
            if not self._advance():
                return
        while self._frame is not None:
            yield self._number, self._decoder.image(self._frame)
            if not self._advance():
                return

    def _restart(self) -> None:
        """Go to the first frame."""
        self._decoder.close()
        self._decoder = VideoDecoder(self._video.source, threads="SLICE")
        self._decoded = self._decoder.frames()
        self._frame: av.VideoFrame | None = None
        self._number, self._sure = -1, True
        self._origin = self._time = 0.0
        if self._advance():
            self._origin, self._time = self._time, 0.0
        self._seeks &= not math.isnan(self._origin)

    def _advance(self) -> bool:
        """Take the next frame; False at the end."""
        found = next(self._decoded, None)
        if found is None:
            return False
        self._frame, self._time = found[0], found[1] - self._origin
        self._number += 1
        return True

    def _go(self, known: FrameTime, lead: float, check: Check) -> bool:
        """Go to a known frame, or ``lead`` seconds before; False if only the start was reached."""
        if self._seeks:
            try:
                if self._land(known, lead, check):
                    return True
            except BaseException:
                self._seeks = False  # it takes too long: count, so that the next call continues
                self._restart()
                raise
            self._seeks = False  # the times are not those of the gallery
        self._restart()
        return False

    def _land(self, known: FrameTime, lead: float, check: Check) -> bool:
        begin = known.time - lead - _SAME
        back = self._seek_before(begin)
        if back is None:
            while self._time < begin and self._advance():
                check()
            return True
        times = [self._time]
        tolerance = _SAME if known.exact else 0.5 / self._video.fps
        while self._time < known.time - tolerance and self._advance():
            check()
            times.append(self._time)
        if abs(self._time - known.time) > tolerance:
            return False
        after = max(1, sum(time >= begin for time in times))
        if after > 1:
            self._jump(begin - back)
            if self._time != times[0] or not all(
                self._advance() for _ in range(len(times) - after)
            ):
                return False
        self._number, self._sure = known.frame - after + 1, known.exact
        return True

    def _seek_before(self, time: float) -> float | None:
        """Jump to some frame at or before a time; how much before was aimed, None at the start."""
        back = 0.0
        while time > back:
            if self._jump(time - back) and self._time <= time:
                return back
            back = 2 * back + 1  # keyframes are scarce, or the index is wrong
        self._restart()
        return None

    def _jump(self, time: float) -> bool:
        try:
            self._decoder.seek(self._origin + time)
        except av.error.FFmpegError:
            return False
        self._decoded = self._decoder.frames()
        return self._advance()


class ImageReader:
    """Frames of an image sequence by number."""

    def __init__(self, video: Video, images: ImageSequence) -> None:
        self._fps, self._images = video.fps, images

    def close(self) -> None:
        """Nothing is open."""

    def read(self, number: int, known: FrameTime, check: Check) -> Image | None:
        """As :meth:`VideoReader.read`."""
        frame = next(self._images.frames(Span(first=number)), None)
        return frame.image if frame is not None and frame.number == number else None

    def frames(
        self, first: int, known: FrameTime | None, lead: float
    ) -> Iterator[tuple[int, Image]]:
        """As :meth:`VideoReader.frames`."""
        for frame in self._images.frames(Span(first=max(0, first - round(lead * self._fps)))):
            yield frame.number, frame.image


Reader: TypeAlias = VideoReader | ImageReader
