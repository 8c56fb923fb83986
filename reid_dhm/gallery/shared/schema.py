"""The tables of a shared gallery, and how rows become records. docs/scale.md explains them."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from reid_dhm.gallery.records import Crop, Tracklet, TrackletId, Video, from_epoch

VERSION = 1
"""Of the tables; a release refuses those of a later one."""

_CROP = pa.struct(
    [
        ("frame", pa.int32()),
        ("time", pa.float64()),
        *((side, pa.float64()) for side in ("x1", "y1", "x2", "y2")),
        ("quality", pa.float64()),
        ("embedding", pa.binary()),
        ("jpeg", pa.binary()),
    ]
)


def _key(name: str) -> pa.Field:
    """The column by which rows are merged: two writers that insert one value are a conflict."""
    marked = {b"lance-schema:unenforced-primary-key": b"true"}
    return pa.field(name, pa.string(), nullable=False, metadata=marked)


FACTS = pa.schema([_key("name"), ("value", pa.string())])
ACTIVITY = pa.schema([_key("name"), ("since", pa.float64())])
AUDIT = pa.schema(
    [
        ("number", pa.int64()),
        *((name, pa.string()) for name in ("time", "actor", "action", "detail")),
    ]
)
DIFFERENT = pa.schema(
    [_key("pair"), *((name, pa.string()) for name in ("first", "second", "by", "at"))]
)
VIDEOS = pa.schema(
    [
        _key("hash"),
        ("camera", pa.string()),
        ("source", pa.string()),
        ("fps", pa.float64()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("start_time", pa.float64()),
        ("utc_offset", pa.int32()),
        ("resumable", pa.bool_()),
        ("settings", pa.string()),
        ("position", pa.int64()),
        ("complete", pa.bool_()),  # false: a part of it; null: all of it, by a writer at work
        ("num_frames", pa.int64()),
    ]
)
TABLES = {
    "facts": FACTS,
    "videos": VIDEOS,
    "audit": AUDIT,
    "different": DIFFERENT,
    "activity": ACTIVITY,
}
"""By name, in the order in which they are made; tracklets follow when their length is known."""

DESCRIPTION = (
    *("key", "id", "video", "track", "camera", "source", "begins", "ends", "begins_at", "ends_at"),
    *("utc_offset", "first_frame", "last_frame", "num_boxes", "person_id", "person"),
    *("frame", "x1", "y1", "x2", "y2"),
)
"""The columns of a tracklet that :func:`as_tracklet` reads."""


def tracklets(dim: int) -> pa.Schema:
    """The table of tracklets, one row with everything of one, so that it is there whole or not."""
    return pa.schema(
        [
            ("key", pa.int64()),
            _key("id"),
            ("video", pa.string()),
            ("track", pa.int32()),
            ("camera", pa.string()),
            ("source", pa.string()),
            *((name, pa.float64()) for name in ("begins", "ends", "begins_at", "ends_at")),
            ("utc_offset", pa.int32()),
            *((name, pa.int32()) for name in ("first_frame", "last_frame", "num_boxes")),
            ("person_id", pa.int64()),
            ("hidden", pa.bool_()),
            *((name, pa.string()) for name in ("person", "confirmed_by", "confirmed_at")),
            ("frame", pa.int32()),
            *((side, pa.float64()) for side in ("x1", "y1", "x2", "y2")),
            ("mean", pa.list_(pa.float16(), dim)),
            ("boxes", pa.binary()),
            ("crops", pa.list_(_CROP)),
        ]
    )


def number_of(text: str) -> int:
    """A number from 1 to 2**53 - 1 for a text, the same on every machine."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) or 1


def camera_number(name: str) -> int:
    """The id of a camera."""
    return number_of(f"camera {name}")


def as_tracklet(row: Mapping[str, Any]) -> Tracklet:
    """A row of :data:`DESCRIPTION`."""
    person, offset = row["person_id"], row["utc_offset"] or 0
    return Tracklet(
        key=row["key"],
        id=TrackletId(row["video"], row["track"]),
        camera=row["camera"],
        source=row["source"],
        start=row["begins"],
        end=row["ends"],
        start_time=from_epoch(row["begins_at"], offset),
        end_time=from_epoch(row["ends_at"], offset),
        first_frame=row["first_frame"],
        last_frame=row["last_frame"],
        num_boxes=row["num_boxes"],
        person=None if person is None else row["person"] or str(person),
        person_id=person,
        frame=row["frame"],
        box=(row["x1"], row["y1"], row["x2"], row["y2"]),
    )


def as_video(row: Mapping[str, Any]) -> Video:
    """A row of :data:`VIDEOS`."""
    names = ("hash", "source", "fps", "width", "height", "resumable", "camera", "position")
    return Video(
        **{name: row[name] for name in (*names, "num_frames")},
        complete=bool(row["complete"]),
        id=number_of(row["hash"]),
        start_time=from_epoch(row["start_time"], row["utc_offset"] or 0),
        settings=json.loads(row["settings"]),
    )


def video_row(video: Video, complete: bool | None) -> dict[str, Any]:
    """A video as a row of :data:`VIDEOS`."""
    names = ("hash", "camera", "source", "fps", "width", "height", "resumable", "position")
    shift = video.start_time.utcoffset() if video.start_time else None
    return {
        **{name: getattr(video, name) for name in (*names, "num_frames")},
        "start_time": video.start_time.timestamp() if video.start_time else None,
        "utc_offset": int(shift.total_seconds()) if shift else 0,
        "settings": json.dumps(dict(video.settings), sort_keys=True),
        "complete": complete,
    }


def as_crop(row: Mapping[str, Any]) -> Crop:
    """One of a row's ``crops``."""
    box = (row["x1"], row["y1"], row["x2"], row["y2"])
    vector = np.frombuffer(row["embedding"], "<f2")
    return Crop(row["frame"], row["time"], box, row["quality"], row["jpeg"], vector)


def crop_row(crop: Crop) -> dict[str, Any]:
    """An image as one of a row's ``crops``."""
    return {
        "frame": crop.frame,
        "time": crop.time,
        **dict(zip(("x1", "y1", "x2", "y2"), crop.box, strict=True)),
        "quality": crop.quality,
        "embedding": np.ascontiguousarray(crop.embedding, "<f2").tobytes(),
        "jpeg": crop.jpeg,
    }


def vectors(column: pa.ChunkedArray, dim: int) -> np.ndarray:
    """A column of embeddings as (N, ``dim``) float16."""
    flat = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks]
    if not flat:
        return np.empty((0, dim), np.float16)
    return np.concatenate(flat).astype(np.float16, copy=False).reshape(-1, dim)


def seconds_of(column: pa.ChunkedArray) -> np.ndarray:
    """A column of times as float64; NaN where there is none."""
    return column.cast(pa.float64()).fill_null(math.nan).to_numpy()
