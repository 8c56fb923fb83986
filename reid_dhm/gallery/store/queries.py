"""The SQL of :class:`reid_dhm.gallery.store.gallery.GalleryStore`, and what its rows become."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np

from reid_dhm.gallery.records import (
    Crop,
    EmbeddingPage,
    Tracklet,
    TrackletFilter,
    TrackletId,
    Video,
    from_epoch,
)

_JOINED = "tracklets t JOIN videos v ON v.id = t.video"

STATE = """SELECT generation, deletions, (SELECT count(*) FROM tracklets),
    (SELECT coalesce(max(key), 0) FROM tracklets) FROM gallery"""

VIDEOS = """SELECT v.id, v.hash, c.name, v.source, v.fps, v.width, v.height, v.start_time,
    v.utc_offset, v.resumable, v.settings, v.position, v.complete, v.num_frames
    FROM videos v JOIN cameras c ON c.id = v.camera"""

TRACKLETS = """SELECT t.key, v.hash, t.track, c.name, v.source, t.start, t."end", v.start_time,
    v.utc_offset, t.first_frame, t.last_frame, t.num_boxes, t.person, p.frame, p.x1, p.y1, p.x2,
    p.y2 FROM tracklets t JOIN videos v ON v.id = t.video JOIN cameras c ON c.id = v.camera
    JOIN crops p ON p.tracklet = t.key AND p.rank = 0"""

COUNT = f"SELECT count(*) FROM {_JOINED}"
KEYS = f"SELECT t.key FROM {_JOINED}"
EMBEDDINGS = """SELECT e.tracklet, e.mean, v.camera, t.start, t."end", v.start_time + t.start,
    v.start_time + t."end" FROM embeddings e JOIN tracklets t ON t.key = e.tracklet
    JOIN videos v ON v.id = t.video"""
CROPS = """SELECT frame, time, x1, y1, x2, y2, quality, jpeg, embedding FROM crops
    WHERE tracklet = ? ORDER BY rank"""

# To be completed by a condition.
DELETE = f"DELETE FROM tracklets WHERE key IN (SELECT t.key FROM {_JOINED} {{}})"

# Tracks that are not finished yet, from their first kept image to their last.
_UNFINISHED = """(SELECT video, track, min(time) AS start, max(time) AS "end" FROM pending
    GROUP BY video, track) t JOIN videos v ON v.id = t.video"""
COUNT_UNFINISHED = f"SELECT count(*) FROM {_UNFINISHED}"
DELETE_UNFINISHED = f"""DELETE FROM pending WHERE (video, track) IN
    (SELECT t.video, t.track FROM {_UNFINISHED} {{}})"""


_IS_ANY_OF = """t.key IN (SELECT w.key FROM json_each(?) j
    JOIN videos u ON u.hash = json_extract(j.value, '$[0]')
    JOIN tracklets w ON w.video = u.id AND w.track = json_extract(j.value, '$[1]'))"""


def condition(where: TrackletFilter) -> tuple[str, list[Any]]:
    """A WHERE clause over tracklets ``t`` and their videos ``v``, and its values."""
    parts: list[str] = ["true"]
    values: list[Any] = []
    if where.tracklets:
        parts.append(_IS_ANY_OF)
        values.append(json.dumps([[video, track] for video, track in where.tracklets]))
    if where.exclude:
        parts.append(f"NOT {_IS_ANY_OF}")
        values.append(json.dumps([[video, track] for video, track in where.exclude]))
    if where.videos:
        parts.append("v.hash IN (SELECT value FROM json_each(?))")
        values.append(json.dumps(list(where.videos)))
    if where.cameras:
        parts.append(
            "v.camera IN (SELECT c.id FROM cameras c JOIN json_each(?) j ON c.name = j.value)"
        )
        values.append(json.dumps(list(where.cameras)))
    if where.person is not None:
        parts.append("t.person = ?")
        values.append(where.person)
    for bound, column, sign in ((where.after, '"end"', ">="), (where.before, "start", "<=")):
        if bound is None:
            continue
        if isinstance(bound, datetime):
            parts.append(f"v.start_time + t.{column} {sign} ?")
            values.append(bound.timestamp())
        else:
            parts.append(f"t.{column} {sign} ?")
            values.append(float(bound))
    return " WHERE " + " AND ".join(parts), values


def video(row: Sequence[Any]) -> Video:
    """A row of :data:`VIDEOS`."""
    (id, hash, camera, source, fps, width, height, start_time, offset, *rest) = row
    resumable, settings, position, complete, num_frames = rest
    return Video(
        hash=hash,
        source=source,
        fps=fps,
        width=width,
        height=height,
        start_time=from_epoch(start_time, offset),
        resumable=bool(resumable),
        settings=json.loads(settings),
        id=id,
        camera=camera,
        position=position,
        complete=bool(complete),
        num_frames=num_frames,
    )


def tracklet(row: Sequence[Any]) -> Tracklet:
    """A row of :data:`TRACKLETS`."""
    (key, hash, track, camera, source, start, end, start_time, offset, *rest) = row
    first_frame, last_frame, num_boxes, person, frame, *box = rest
    known = start_time is not None
    return Tracklet(
        key=key,
        id=TrackletId(hash, track),
        camera=camera,
        source=source,
        start=start,
        end=end,
        start_time=from_epoch(start_time + start, offset) if known else None,
        end_time=from_epoch(start_time + end, offset) if known else None,
        first_frame=first_frame,
        last_frame=last_frame,
        num_boxes=num_boxes,
        person=person,
        frame=frame,
        box=(box[0], box[1], box[2], box[3]),
    )


def crop(row: Sequence[Any]) -> Crop:
    """A row of :data:`CROPS`."""
    frame, time, x1, y1, x2, y2, quality, jpeg, embedding = row
    return Crop(frame, time, (x1, y1, x2, y2), quality, jpeg, np.frombuffer(embedding, "<f2"))


def page(rows: Sequence[Sequence[Any]], dim: int) -> EmbeddingPage:
    """Rows of :data:`EMBEDDINGS` as arrays."""
    keys, means, cameras, *times = zip(*rows, strict=True) if rows else ((),) * 7
    return EmbeddingPage(
        np.array(keys, np.int64),
        np.frombuffer(b"".join(means), "<f2").reshape(len(rows), dim),
        np.array(cameras, np.int64),
        *(np.array(column, np.float64) for column in times),  # None becomes NaN
    )
