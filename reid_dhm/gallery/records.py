"""What a gallery holds, as values: cameras, videos, tracklets, their boxes and crops.

Reading and writing them is :mod:`reid_dhm.gallery.store.gallery`'s work.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reid_dhm.errors import InputError

Embed = Callable[[Sequence[NDArray[np.uint8]]], NDArray[np.float32]]
"""N RGB images, each (H, W, 3) uint8, to (N, D) unit rows: what is needed of an
:class:`~reid_dhm.inference.Embedder`."""

DETECTION = np.dtype([("frame", "<i4"), ("time", "<f8"), ("box", "<f4", (4,)), ("score", "<f4")])
"""One detection: frame number in the source (from 0), seconds from the source's first frame, box
x1, y1, x2, y2 in pixels of that frame, and the detector's score. Arrays of it are the boxes of a
tracklet, or the detections of a chunk of frames."""

FRAME = np.dtype([("frame", "<i4"), ("time", "<f8")])
"""One frame that was looked at, with or without anybody in it."""

Box = tuple[float, float, float, float]
"""x1, y1, x2, y2 in pixels of the frame."""


class TrackletId(NamedTuple):
    """What names a tracklet for good: written ``9f86d081884c7d65-12``.

    Attributes:
        video: content hash of the video, 16 hexadecimal digits.
        track: number of the track in the video, from 1.
    """

    video: str
    track: int

    def __str__(self) -> str:
        return f"{self.video}-{self.track}"

    @classmethod
    def parse(cls, text: str) -> TrackletId:
        """Read ``video-track``; raises :class:`InputError` for anything else."""
        video, _, track = text.rpartition("-")
        if not video or not (track.isascii() and track.isdigit()):
            raise InputError(
                f"{text!r} is no tracklet: give its id as `reid-dhm gallery list` prints it, such "
                "as 9f86d081884c7d65-12"
            )
        return cls(video, int(track))


@dataclass(frozen=True, slots=True)
class Camera:
    """A place that is filmed.

    Attributes:
        id: row number, for filters.
        name: as the user calls it; unique.
    """

    id: int
    name: str


@dataclass(frozen=True, slots=True)
class NewVideo:
    """A video about to be indexed.

    Attributes:
        hash: content hash, 16 hexadecimal digits; for a stream, a hash of address and moment.
        source: absolute path, folder or pattern of frames, or address without credentials.
        fps: frames a second, as the source claims.
        width, height: of its frames, in pixels.
        start_time: wall-clock time of its first frame, with an offset from UTC; None if unknown.
        resumable: whether the same frames can be read again.
        settings: everything that decides which tracklets come out: detector, tracker, stride …
    """

    hash: str
    source: str
    fps: float
    width: int
    height: int
    start_time: datetime | None = None
    resumable: bool = True
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Video(NewVideo):
    """A video of the gallery.

    Attributes:
        id: row number.
        camera: name of its camera.
        position: number of the next frame to look at.
        complete: whether it was indexed to its end.
        num_frames: how many were looked at.
    """

    id: int = 0
    camera: str = ""
    position: int = 0
    complete: bool = False
    num_frames: int = 0

    def at(self, seconds: float) -> datetime | None:
        """Wall-clock time of a moment, in the offset that the start was given with."""
        return None if self.start_time is None else self.start_time + timedelta(seconds=seconds)


@dataclass(frozen=True, slots=True, eq=False)
class Crop:
    """One of the best images of a tracklet.

    Attributes:
        frame, time: where it was cut, as in :data:`DETECTION`.
        box: what was cut.
        quality: the score it was chosen by, higher is better.
        jpeg: the image; its decoded pixels are what was embedded.
        embedding: (D,) float16 unit vector; empty while nobody embedded it.
    """

    frame: int
    time: float
    box: Box
    quality: float
    jpeg: bytes
    embedding: NDArray[np.float16] = field(default_factory=lambda: np.empty(0, np.float16))


@dataclass(frozen=True, slots=True, eq=False)
class NewTracklet:
    """A finished track.

    Attributes:
        track: its number in the video, from 1.
        boxes: (N,) :data:`DETECTION`, N at least 1, in frame order.
        crops: embedded, best first, at least one.
        mean: (D,) float16, the unit vector along the mean of the crops' embeddings.
    """

    track: int
    boxes: NDArray[np.void]
    crops: Sequence[Crop]
    mean: NDArray[np.float16]


@dataclass(frozen=True, slots=True)
class Tracklet:
    """A person on the way through one camera's view, without the heavy parts.

    Attributes:
        key: row number, never given twice; what an index calls it.
        id: what users call it.
        camera: name of the camera.
        source: of the video.
        start, end: seconds from the source's first frame.
        start_time, end_time: wall-clock times, if the video has them.
        first_frame, last_frame: in the source, from 0.
        num_boxes: frames in which the person was detected.
        person: label that joins tracklets of one person; None for nobody's.
        frame, box: of the best crop.
    """

    key: int
    id: TrackletId
    camera: str
    source: str
    start: float
    end: float
    start_time: datetime | None
    end_time: datetime | None
    first_frame: int
    last_frame: int
    num_boxes: int
    person: str | None
    frame: int
    box: Box


class EmbeddingPage(NamedTuple):
    """A run of tracklets in the order of their keys, as arrays.

    Attributes:
        keys: (N,) int64, ascending.
        embeddings: (N, D) float16 unit rows, the tracklets' means; read-only.
        cameras: (N,) int64 camera ids.
        starts, ends: (N,) float64 seconds from the video's start.
        start_times, end_times: (N,) float64 seconds since 1970 UTC; NaN without wall-clock time.
    """

    keys: NDArray[np.int64]
    embeddings: NDArray[np.float16]
    cameras: NDArray[np.int64]
    starts: NDArray[np.float64]
    ends: NDArray[np.float64]
    start_times: NDArray[np.float64]
    end_times: NDArray[np.float64]


class State(NamedTuple):
    """By which a derived index knows whether it is stale.

    Attributes:
        generation: grows with every change of what an index holds.
        deletions: grows whenever tracklets vanish; while it stays, an index only lacks the
            tracklets with keys above the highest it holds.
        tracklets: how many there are.
        last_key: the highest key, 0 in an empty gallery.
    """

    generation: int
    deletions: int
    tracklets: int
    last_key: int


@dataclass(frozen=True, slots=True)
class TrackletFilter:
    """Which tracklets are meant: all that satisfy every condition given.

    Attributes:
        tracklets: any of these ids.
        videos: in any of these, by hash.
        cameras: seen by any of these, by name.
        person: with this label.
        after, before: overlapping this span. Numbers are seconds from each video's start; dates
            are wall-clock times, and videos without one never match.
        exclude: none of these ids.
    """

    tracklets: Sequence[TrackletId] = ()
    videos: Sequence[str] = ()
    cameras: Sequence[str] = ()
    person: str | None = None
    after: float | datetime | None = None
    before: float | datetime | None = None
    exclude: Sequence[TrackletId] = ()

    def __bool__(self) -> bool:
        """Whether there is any condition besides ``exclude``."""
        bounds = (self.person, self.after, self.before)
        return bool(self.tracklets or self.videos or self.cameras) or any(
            bound is not None for bound in bounds
        )


def wall_clock(text: str) -> datetime:
    """Read an ISO 8601 time; without an offset it is UTC.

    Raises:
        InputError: for anything else.
    """
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise InputError(
            f"{text!r} is no ISO 8601 time: give one such as 2026-03-01T08:30:00+01:00"
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def from_epoch(seconds: float | None, offset: int) -> datetime | None:
    """Seconds since 1970 UTC, shown ``offset`` seconds east of Greenwich."""
    if seconds is None or math.isnan(seconds):
        return None
    zone = timezone(timedelta(seconds=offset))
    return datetime(1970, 1, 1, tzinfo=timezone.utc).astimezone(zone) + timedelta(seconds=seconds)
