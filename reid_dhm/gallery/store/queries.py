"""The queries of :class:`~reid_dhm.gallery.store.gallery.GalleryStore`, and records from rows.

A file may be damaged or come from strangers, so the types of a row are checked.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from reid_dhm.gallery.footage.frames import MAX_FPS, MIN_FPS
from reid_dhm.gallery.records import (
    DETECTION,
    FRAME,
    Camera,
    Crop,
    EmbeddingPage,
    State,
    Tracklet,
    TrackletId,
    Video,
    from_epoch,
    is_hash,
)
from reid_dhm.gallery.store.database import DamagedRowError

R = TypeVar("R")

_JOINED = "tracklets t JOIN videos v ON v.id = t.video"

STATE = """SELECT generation, deletions, (SELECT count(*) FROM tracklets),
    (SELECT coalesce(max(key), 0) FROM tracklets) FROM gallery"""

CAMERAS = "SELECT id, name FROM cameras ORDER BY name"

VIDEOS = """SELECT v.id, v.hash, c.name, v.source, v.fps, v.width, v.height, v.start_time,
    v.utc_offset, v.resumable, v.settings, v.position, v.complete, v.num_frames
    FROM videos v JOIN cameras c ON c.id = v.camera"""

TRACKLETS = """SELECT t.key, v.hash, t.track, c.name, v.source, t.start, t."end", v.start_time,
    v.utc_offset, t.first_frame, t.last_frame, t.num_boxes, m.person, n.name, p.frame, p.x1, p.y1,
    p.x2, p.y2 FROM tracklets t JOIN videos v ON v.id = t.video JOIN cameras c ON c.id = v.camera
    JOIN crops p ON p.tracklet = t.key AND p.rank = 0
    LEFT JOIN members m ON m.tracklet = t.key LEFT JOIN people n ON n.id = m.person"""

COUNT = f"SELECT count(*) FROM {_JOINED}"
KEYS = f"SELECT t.key FROM {_JOINED}"
EMBEDDINGS = """SELECT e.tracklet, e.mean, v.camera, t.start, t."end", v.start_time + t.start,
    v.start_time + t."end" FROM embeddings e JOIN tracklets t ON t.key = e.tracklet
    JOIN videos v ON v.id = t.video"""
MODEL = "SELECT fingerprint, model, dim FROM gallery"
THRESHOLDS = "SELECT fingerprint, dim, thresholds FROM gallery"
PEOPLE = """SELECT p.id, p.name, count(*), count(m.confirmed_by), p.hidden FROM people p
    JOIN members m ON m.person = p.id {} GROUP BY p.id ORDER BY p.id"""
NUMBERED = "WHERE p.id BETWEEN ? AND ?"
IS_PERSON = "WHERE p.id = coalesce((SELECT id FROM people WHERE name = ?), ?)"
ADD_AUDIT = "INSERT INTO audit (time, actor, action, detail) VALUES (?, ?, ?, ?)"
# Times are ISO 8601 in UTC, so their order is alphabetical.
AUDIT = """SELECT id, time, actor, action, detail FROM audit WHERE time >= coalesce(?, time)
    AND time <= coalesce(?, time) ORDER BY id DESC LIMIT ?"""
_ENDS = """(SELECT first_frame AS frame, start AS time FROM tracklets WHERE video = ?1
    UNION ALL SELECT last_frame, "end" FROM tracklets WHERE video = ?1)"""
ENDS = (
    f"SELECT frame, time FROM {_ENDS} WHERE frame <= ?2 ORDER BY frame DESC LIMIT 1",
    f"SELECT frame, time FROM {_ENDS} WHERE frame > ?2 ORDER BY frame LIMIT 1",
)
CROPS = """SELECT frame, time, x1, y1, x2, y2, quality, jpeg, embedding FROM crops
    WHERE tracklet = ? ORDER BY rank"""


def checked(*types: Any) -> Callable[[Callable[[Sequence[Any]], R]], Callable[[Sequence[Any]], R]]:
    """Convert rows only if they have these types and every number is finite.

    Other rows raise :class:`DamagedRowError`.
    """

    def decorate(convert: Callable[[Sequence[Any]], R]) -> Callable[[Sequence[Any]], R]:
        @wraps(convert)
        def convert_checked(row: Sequence[Any]) -> R:
            for value, kind in zip(row, types, strict=True):
                if not isinstance(value, kind):
                    expected = getattr(kind, "__name__", kind)
                    raise DamagedRowError(f"{value!r:.60} instead of {expected}")
                if isinstance(value, float) and not math.isfinite(value):
                    raise DamagedRowError(f"{value} instead of a finite number")
            try:
                return convert(row)
            except (ValueError, OverflowError, TypeError, RecursionError) as error:
                raise DamagedRowError(str(error)[:200]) from error

        return convert_checked

    return decorate


_TEXT, _REAL = str | None, float | None
LONGEST, _WIDEST = 1e10, 1 << 20  # seconds of a video, pixels of a frame


@checked(int, int, int, int)
def state(row: Sequence[Any]) -> State:
    """A row of :data:`STATE`."""
    return State(*row)


@checked(_TEXT, _TEXT, int | None)
def model(row: Sequence[Any]) -> tuple[str | None, str | None, int | None]:
    """A row of :data:`MODEL`."""
    fingerprint, name, dim = row
    if len({value is None for value in row}) > 1:
        raise ValueError("a model without its fingerprint, name or dimension")
    if dim is not None and not 0 < dim < 2**20:
        raise ValueError(f"{dim} dimensions")
    return fingerprint, name, dim


@checked(int, str)
def camera(row: Sequence[Any]) -> Camera:
    """An id and a name."""
    return Camera(*row)


@checked(*(int, str, str, str, float, int, int, _REAL, int, int, str, int, int, int))
def video(row: Sequence[Any]) -> Video:
    """A row of :data:`VIDEOS`."""
    (id, hash, camera, source, fps, width, height, start_time, offset, *rest) = row
    resumable, settings, position, complete, num_frames = rest
    if not MIN_FPS <= fps <= MAX_FPS:
        raise ValueError(f"{fps} frames per second")
    if not (0 <= position <= LONGEST * fps and 0 < width < _WIDEST and 0 < height < _WIDEST):
        raise ValueError(f"a video of {position} frames of {width}x{height} pixels")
    settings = json.loads(settings)
    if not isinstance(settings, dict):
        raise ValueError("settings of a video that are not a JSON object")
    if start_time is not None:  # its end must be within the calendar, too
        from_epoch(start_time + position / fps, offset)
    return Video(
        hash=_hash(hash),
        source=source,
        fps=fps,
        width=width,
        height=height,
        start_time=from_epoch(start_time, offset),
        resumable=bool(resumable),
        settings=settings,
        id=id,
        camera=camera,
        position=position,
        complete=bool(complete),
        num_frames=num_frames,
    )


@checked(
    *(int, str, int, str, str, float, float, _REAL, int, int, int, int, int | None, _TEXT, int),
    *(float, float, float, float),
)
def tracklet(row: Sequence[Any]) -> Tracklet:
    """A row of :data:`TRACKLETS`."""
    (key, hash, track, camera, source, start, end, start_time, offset, *rest) = row
    first_frame, last_frame, num_boxes, person, name, frame, *box = rest
    known = start_time is not None
    return Tracklet(
        key=key,
        id=TrackletId(_hash(hash), track),
        camera=camera,
        source=source,
        start=start,
        end=end,
        start_time=from_epoch(start_time + start, offset) if known else None,
        end_time=from_epoch(start_time + end, offset) if known else None,
        first_frame=first_frame,
        last_frame=last_frame,
        num_boxes=num_boxes,
        person=None if person is None else name or str(person),
        person_id=person,
        frame=frame,
        box=(box[0], box[1], box[2], box[3]),
    )


@checked(int, float, float, float, float, float, float, bytes, bytes)
def crop(row: Sequence[Any]) -> Crop:
    """A row of :data:`CROPS`."""
    frame, time, x1, y1, x2, y2, quality, jpeg, embedding = row
    return Crop(frame, time, (x1, y1, x2, y2), quality, jpeg, np.frombuffer(embedding, "<f2"))


@checked(int, float)
def end(row: Sequence[Any]) -> tuple[int, float]:
    """A row of :data:`ENDS`."""
    return row[0], row[1]


@checked(bytes)
def boxes(row: Sequence[Any]) -> NDArray[np.void]:
    """A blob as (N,) :data:`.DETECTION`."""
    found = np.frombuffer(row[0], DETECTION)
    if not (np.isfinite(found["time"]).all() and np.isfinite(found["box"]).all()):
        raise ValueError("a box or its time is not finite")
    return found


@checked(bytes)
def frames(row: Sequence[Any]) -> NDArray[np.void]:
    """A blob as (F,) :data:`.FRAME`."""
    found = np.frombuffer(row[0], FRAME)
    if not np.isfinite(found["time"]).all():
        raise ValueError("the time of a frame is not finite")
    return found


@checked(bytes)
def jpeg(row: Sequence[Any]) -> bytes:
    """An image."""
    return bytes(row[0])


def page(rows: Sequence[Sequence[Any]], dim: int) -> EmbeddingPage:
    """Rows of :data:`EMBEDDINGS` as arrays.

    Raises:
        DamagedRowError: an embedding that does not have ``dim`` float16 values, or other damage.
    """
    keys, means, cameras, *times = zip(*rows, strict=True) if rows else ((),) * 7
    try:
        return EmbeddingPage(
            np.array(keys, np.int64),
            vectors(means, dim),
            np.array(cameras, np.int64),
            *(np.array(column, np.float64) for column in times),  # None becomes NaN
        )
    except (ValueError, TypeError, OverflowError) as error:
        raise DamagedRowError(str(error)[:200]) from error


def vectors(blobs: Sequence[Any], dim: int) -> NDArray[np.float16]:
    """N blobs as (N, ``dim``) float16.

    Raises:
        DamagedRowError: a blob of another length, or another type.
    """
    try:
        return np.frombuffer(b"".join(blobs), "<f2").reshape(len(blobs), dim)
    except (ValueError, TypeError) as error:
        raise DamagedRowError(f"an embedding without {dim} dimensions") from error


def _hash(text: str) -> str:
    if not is_hash(text):
        raise ValueError(f"{text!r:.60} is not the hash of a video")
    return text
