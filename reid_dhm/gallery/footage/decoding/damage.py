"""Counts the frames of a video that are lost or damaged, and tells damage from how it was cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av

from reid_dhm.gallery.footage.decoding.holes import HoleFinder

# These decoders drop some damage without an error; others hide frames on purpose.
_ONE_FRAME_PER_PACKET = {"h264", "hevc", "mjpeg", "mpeg4", "mpeg2video", "vp9", "libdav1d"}
_NOT_CODED = 16  # bytes of a packet of MPEG-4 that may only repeat the frame before
_CUT_ANYWHERE = {"mpegts", "mpeg", "h264", "hevc"}  # others begin with a keyframe


class DamageCounter:
    """Follows packets and frames of a video from its first to its last.

    What comes before the first keyframe of a broadcast is not counted: it is cut anywhere.

    Args:
        stream: of the video.
        path: of a file whose missing frames are to be found; None counts what was received.
        formats: names of the container, as FFmpeg calls them.

    Attributes:
        decoded: frames so far.
    """

    def __init__(self, stream: Any, path: Path | None, formats: set[str]) -> None:
        self._stream = stream
        self._holes = None if path is None else HoleFinder(path, formats)
        self.decoded = 0
        self._packets = self._errors = self._before = self._partial = 0
        self._awaited: set[int] = set()  # times of packets whose frames have not come
        self._in_fields = False
        self._begun = not formats & _CUT_ANYWHERE
        self._first: int | None = None  # time of the first keyframe, if it was cut
        self._least = _NOT_CODED if stream.codec_context.name == "mpeg4" else 0

    def close(self) -> None:
        """Close the file."""
        if self._holes is not None:
            self._holes.close()

    @property
    def follows_all(self) -> bool:
        """Whether the packets of all streams are wanted."""
        return self._holes is not None

    def packet(self, packet: Any) -> None:
        """Count a packet of the file."""
        is_video = packet.stream_index == self._stream.index
        if self._holes is not None:
            self._holes.add(packet, is_video)
        if not is_video:
            return
        if not self._begun and packet.is_keyframe:
            self._begun, self._first = True, packet.pts
        if packet.size <= self._least or packet.is_discard:
            return
        leads = None not in (packet.pts, self._first) and packet.pts < self._first
        if not self._begun or leads:
            self._before += 1
        else:
            self._packets += 1
            if packet.pts is not None:
                self._awaited.add(packet.pts)

    def frame(self, frame: av.VideoFrame) -> None:
        """Count a decoded frame."""
        self.decoded += 1
        self._partial += frame.is_corrupt and self._begun
        self._in_fields |= frame.interlaced_frame  # a packet may hold half of it
        if frame.pts is not None:
            self._awaited.discard(frame.pts)

    def error(self) -> None:
        """Count a packet that cannot be read or decoded."""
        self._errors += self._begun

    def told(self, claimed: int | None, seconds: float | None) -> str | None:
        """How many frames are lost or damaged, once all were read; None if all is well.

        Args:
            claimed, seconds: number of frames and duration as the header says.
        """
        lost, missing = self._errors, 0
        is_strict = self._stream.codec_context.name in _ONE_FRAME_PER_PACKET
        if lost or (is_strict and not self._in_fields):
            lost = max(lost, self._packets - self.decoded, len(self._awaited))
        if self._holes is not None:
            base = self._stream.time_base
            end = None if seconds is None or not base else seconds / float(base)
            missing = self._holes.missing(claimed, end)
            missing += self._before * self._holes.at_start
        told = []
        if lost or missing:
            told.append(f"damaged frames left out: {'about ' * bool(missing)}{lost + missing}")
        if self._partial:
            told.append(f"frames decoded in part: {self._partial}")
        return "; ".join(told) or None
