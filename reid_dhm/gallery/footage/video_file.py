"""Recorded video: a file, or a recording at an address."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from reid_dhm.errors import InputError
from reid_dhm.gallery.footage.clock import frame_times
from reid_dhm.gallery.footage.decoding.decoder import VideoDecoder
from reid_dhm.gallery.footage.frames import Frame, SourceInfo, Span
from reid_dhm.gallery.footage.hashing import content_hash

logger = logging.getLogger(__name__)


class VideoFile:
    """A recording. Frames are numbered as they are decoded; times are the container's.

    Args:
        place: a file, or an address.
        fps: frames per second, to override wrong times; frame ``n`` is then at ``n / fps``.

    Raises:
        InputError: no video, or none of its frames can be decoded.
        UnsupportedError: no decoder for its codec.
    """

    def __init__(self, place: Path | str, fps: float | None = None) -> None:
        self._place = str(place.resolve()) if isinstance(place, Path) else place
        self._own_clock = fps is None
        self._stopped = False
        with closing(VideoDecoder(self._place)) as decoder:
            name, count, seconds = decoder.name, decoder.claimed_frames, decoder.claimed_seconds
            rate, sampled = decoder.sample()
        with closing(VideoDecoder(self._place)) as decoder:
            first = next(decoder.frames(), None)
            if first is None:
                raise InputError(f"{name} cannot be decoded: all of its frames are damaged")
            height, width = decoder.image(first[0]).shape[:2]
        if count is None and seconds is not None:
            count = round(seconds * rate)
        self._size = place.stat().st_size if isinstance(place, Path) else None
        digits = content_hash([place]) if isinstance(place, Path) else sampled
        self.info = SourceInfo(digits, name, fps or rate, width, height, count or None, live=False)

    def stop(self) -> None:
        """Let :meth:`frames` end soon."""
        self._stopped = True

    def frames(self, span: Span) -> Iterator[Frame]:
        """See :class:`.Source`; warns of damaged frames and of a missing end.

        Raises:
            StorageError: the disk or the network failed.
        """
        self._stopped = False
        step = 1 / self.info.fps
        with closing(VideoDecoder(self._place, whole=True)) as decoder:
            timed = frame_times(decoder.frames(), step)
            for number, (frame, clock) in enumerate(timed):
                time = clock if self._own_clock else number * step
                if time >= span.end or self._stopped:
                    return
                if span.wants(number, time):
                    yield Frame(number, time, decoder.image(frame))
            if damage := decoder.damage():
                logger.warning("%s: %s", self.info.name, damage)
            if self._size is not None and Path(self._place).stat().st_size != self._size:
                logger.warning(
                    "%s is still being written: index it again when it is complete", self.info.name
                )
            elif part := decoder.missing_end():
                logger.warning(
                    "%s ends after %s: it is cut off or damaged; what it holds is indexed",
                    *(self.info.name, part),
                )
