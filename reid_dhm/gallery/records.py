"""The values that the rooms of a gallery exchange: cameras, videos, tracklets, boxes, crops.

Reading and writing them is left to :mod:`reid_dhm.gallery.store`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reid_dhm.errors import InputError

Embed = Callable[[Sequence[NDArray[np.uint8]]], NDArray[np.float32]]
"""N RGB images, each (H, W, 3) uint8, to (N, D) float32 unit rows, as
:class:`~reid_dhm.inference.embedder.Embedder` computes them."""

DETECTION = np.dtype([("frame", "<i4"), ("time", "<f8"), ("box", "<f4", (4,)), ("score", "<f4")])
"""One detection: frame number in the source (from 0), seconds from the source's first frame, box
x1, y1, x2, y2 in pixels of that frame, and the detector's score. Arrays of it are the boxes of a
tracklet, or the detections of a chunk of frames."""

FRAME = np.dtype([("frame", "<i4"), ("time", "<f8")])
"""One processed frame, with or without people in it."""

Box = tuple[float, float, float, float]
"""x1, y1, x2, y2 in pixels of the frame."""


_LONGEST_NAME = 200
_HASH = re.compile(r"[0-9a-f]{16}")
_TRACKLET_ID = re.compile(r"(.*)-([0-9]{1,9})", re.DOTALL)


def check_name(kind: str, name: str) -> None:
    """Refuse the name of a camera or person that cannot be printed or typed.

    Args:
        kind: ``camera`` or ``person``, for the message.
        name: 1 to 200 printable characters without spaces at the ends.

    Raises:
        InputError: any other name.
    """
    if not 1 <= len(name) <= _LONGEST_NAME or name != name.strip() or not name.isprintable():
        raise InputError(
            f"{kind} name {name[:60]!r} is not allowed: give 1 to {_LONGEST_NAME} printable "
            "characters without spaces at the ends"
        )


def is_hash(text: str) -> bool:
    """Whether it is the content hash of a video: 16 hexadecimal digits."""
    return bool(_HASH.fullmatch(text))


class TrackletId(NamedTuple):
    """The permanent id of a tracklet, written ``9f86d081884c7d65-12``.

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
        found = _TRACKLET_ID.fullmatch(text)
        if not found or not found[1]:
            raise InputError(
                f"{text[:60]!r} is not a tracklet id: give it as `reid-dhm gallery list tracklets` "
                "prints it, such as 9f86d081884c7d65-12"
            )
        return cls(found[1], int(found[2]))


@dataclass(frozen=True, slots=True)
class Camera:
    """A camera.

    Attributes:
        id: row number, for filters.
        name: given by the user; unique.
    """

    id: int
    name: str


@dataclass(frozen=True, slots=True)
class NewVideo:
    """A video about to be indexed.

    Attributes:
        hash: content hash, 16 hexadecimal digits; for a stream, a hash of address and time.
        source: absolute path, folder or pattern of frames, or address without credentials.
        fps: frames per second, as the source states.
        width, height: of its frames, in pixels.
        start_time: wall-clock time of its first frame, with an offset from UTC; None if unknown.
        resumable: whether the same frames can be read again.
        settings: everything that determines the tracklets: detector, tracker, stride …
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
        position: number of the next frame to process.
        complete: whether it was indexed to its end.
        num_frames: number of processed frames.
    """

    id: int = 0
    camera: str = ""
    position: int = 0
    complete: bool = False
    num_frames: int = 0

    def at(self, seconds: float) -> datetime | None:
        """Wall-clock time at ``seconds``, in the UTC offset of the start time."""
        return None if self.start_time is None else self.start_time + timedelta(seconds=seconds)


@dataclass(frozen=True, slots=True, eq=False)
class Crop:
    """One of the best images of a tracklet.

    Attributes:
        frame, time: where it was cropped, as in :data:`DETECTION`.
        box: the crop's box.
        quality: the score it was chosen by, higher is better.
        jpeg: the image; its decoded pixels were embedded.
        embedding: (D,) float16 unit vector; empty before it is computed.
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
    """A person on the way through one camera's view, without boxes, crops and embeddings.

    Attributes:
        key: row number, never reused; the key of its vector in an index.
        id: its id for users.
        camera: name of the camera.
        source: of the video.
        start, end: seconds from the source's first frame.
        start_time, end_time: wall-clock times, if the video has them.
        first_frame, last_frame: in the source, from 0.
        num_boxes: frames in which the person was detected.
        person: name of the person, or the number of one without a name; None of nobody's.
        person_id: number of the person.
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
    person_id: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready values: times in seconds and as ISO 8601 or None, the box as a list."""
        return {
            "tracklet": str(self.id),
            "camera": self.camera,
            "video": self.id.video,
            "source": self.source,
            "start": self.start,
            "end": self.end,
            "start_time": self.start_time.isoformat() if self.start_time else None,
            "end_time": self.end_time.isoformat() if self.end_time else None,
            "first_frame": self.first_frame,
            "last_frame": self.last_frame,
            "num_boxes": self.num_boxes,
            "person": self.person,
            "person_id": self.person_id,
            "frame": self.frame,
            "box": list(self.box),
        }


class EmbeddingPage(NamedTuple):
    """Consecutive tracklets in the order of their keys, as arrays.

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
    """By which a derived index detects that it is out of date.

    Attributes:
        generation: grows with every change that affects an index.
        deletions: grows whenever tracklets are deleted; while it stays, an index only lacks the
            tracklets with keys above its highest.
        tracklets: number of tracklets.
        last_key: the highest key, 0 in an empty gallery.
    """

    generation: int
    deletions: int
    tracklets: int
    last_key: int


@dataclass(frozen=True, slots=True)
class TrackletFilter:
    """Conditions on tracklets; all that are given must hold.

    Attributes:
        tracklets: any of these ids.
        videos: in any of these, by hash.
        cameras: seen by any of these, by name.
        person: of the person with this name, or else with this number; an int is a number only.
        after, before: overlapping this span. Numbers are seconds from each video's start; dates
            are wall-clock times, and videos without one never match.
        exclude: none of these ids.
    """

    tracklets: Sequence[TrackletId] = ()
    videos: Sequence[str] = ()
    cameras: Sequence[str] = ()
    person: str | int | None = None
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
        InputError: anything else, or a year outside 1900 to 2999.
    """
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise InputError(
            f"{text[:60]!r} is not an ISO 8601 time: give one such as 2026-03-01T08:30:00+01:00"
        ) from None
    if not 1900 <= moment.year < 3000:
        raise InputError(f"{text!r} is out of range: give a time between 1900 and 2999")
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def from_epoch(seconds: float | None, offset: int) -> datetime | None:
    """Seconds since 1970 UTC as a time in the zone ``offset`` seconds east of Greenwich.

    Seconds beyond the calendar give its first or last day.
    """
    if seconds is None or math.isnan(seconds):
        return None
    least, most = -62_135_510_400.0, 253_402_214_400.0  # 0001-01-02 and 9999-12-31
    zone = timezone(timedelta(seconds=offset))
    moment = timedelta(seconds=min(max(seconds, least), most))
    return (datetime(1970, 1, 1, tzinfo=timezone.utc) + moment).astimezone(zone)
