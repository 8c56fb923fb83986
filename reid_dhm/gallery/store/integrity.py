"""Checking a gallery for damage; docs/gallery.md lists the invariants."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from reid_dhm.errors import StorageError
from reid_dhm.gallery.footage.frames import MAX_FPS, MIN_FPS
from reid_dhm.gallery.store import audit, cases, changes, people, queries, travel, watching
from reid_dhm.gallery.store.database import DamagedRowError
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.track.crops import decode_jpeg

_SIDES = ("x1", "y1", "x2", "y2")
_LONGEST = 1e10  # seconds
_COUNT = (0, 1 << 53)
_UNIT = 0.01  # how far the length of a float16 unit vector may be from 1

# Where, what, and the queries that find it; {} is what a query finds, the row it concerns.
_FAULTS = (
    (
        "embeddings",
        "the tracklet with key {} has no embedding",
        """
        SELECT key FROM tracklets WHERE key NOT IN (SELECT tracklet FROM embeddings)""",
    ),
    (
        "embeddings.mean",
        "the embedding of the tracklet with key {} does not have the model's length",
        """
        SELECT tracklet FROM embeddings, gallery WHERE length(mean) IS NOT 2 * dim""",
    ),
    (
        "boxes",
        "the tracklet with key {} has no boxes",
        """
        SELECT key FROM tracklets WHERE key NOT IN (SELECT tracklet FROM boxes)""",
    ),
    (
        "crops",
        "the tracklet with key {} has no crops",
        """
        SELECT key FROM tracklets WHERE key NOT IN (SELECT tracklet FROM crops)""",
    ),
    (
        "crops.rank",
        "the tracklet with key {} lacks some of its crops",
        """
        SELECT tracklet FROM crops GROUP BY tracklet
        HAVING min(rank) <> 0 OR max(rank) <> count(*) - 1""",
    ),
    (
        "videos.complete",
        "video {} is complete but keeps unfinished work",
        """
        SELECT id FROM videos WHERE complete
        AND id IN (SELECT video FROM chunks UNION SELECT video FROM pending
        UNION SELECT video FROM forgotten)""",
    ),
    (
        "videos.position",
        "video {} has frames beyond its position",
        """
        SELECT id FROM videos WHERE position <= max(
        (SELECT coalesce(max(first_frame), -1) FROM chunks WHERE video = videos.id),
        (SELECT coalesce(max(last_frame), -1) FROM tracklets WHERE video = videos.id
        AND position > 0))""",
    ),
    (
        "tracklets.person",
        "the tracklet with key {} has a label of an older release",
        """
        SELECT key FROM tracklets WHERE person IS NOT NULL""",
    ),
    (
        "people",
        "person {} has no tracklets",
        """
        SELECT id FROM people WHERE id NOT IN (SELECT person FROM members)""",
    ),
    (
        "members",
        "the tracklet with key {} is confirmed by nobody or at no time",
        """
        SELECT tracklet FROM members WHERE (confirmed_by IS NULL) <> (confirmed_at IS NULL)""",
    ),
    (
        "different",
        "the tracklet with key {} is one person with a tracklet that is said to be different",
        """
        SELECT d.first FROM different d JOIN members a ON a.tracklet = d.first
        JOIN members b ON b.tracklet = d.second WHERE a.person = b.person""",
    ),
)

# Of every number: its least and greatest value, both included.
_TIME, _PIXEL = (-_LONGEST, _LONGEST), (-1e6, 1e6)
_RANGES: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("gallery.generation", "gallery.deletions", "gallery.revision"), _COUNT),
    "videos.fps": (MIN_FPS, MAX_FPS),
    "videos.width": (1, 1e6),
    "videos.height": (1, 1e6),
    **dict.fromkeys(("videos.position", "videos.num_frames"), _COUNT),
    **dict.fromkeys(("videos.resumable", "videos.complete"), (0, 1)),
    "videos.start_time": (-1e11, 1e12),
    "videos.utc_offset": (-86400, 86400),
    **dict.fromkeys(("tracklets.track", "tracklets.first_frame", "tracklets.last_frame"), _COUNT),
    "tracklets.start": _TIME,
    "tracklets.end": _TIME,
    "tracklets.num_boxes": (1, _COUNT[1]),
    **{f"{table}.{side}": _PIXEL for table in ("crops", "pending") for side in _SIDES},
    **{f"{table}.time": _TIME for table in ("crops", "pending")},
    **{f"{table}.frame": _COUNT for table in ("crops", "pending")},
    **{f"{table}.quality": (-1e300, 1e300) for table in ("crops", "pending")},
    "pending.track": _COUNT,
    "chunks.first_frame": _COUNT,
    **dict.fromkeys(("forgotten.after", "forgotten.before"), _TIME),
    **dict.fromkeys(("people.hidden", "case_marks.confirmed"), (0, 1)),
    "case_marks.similarity": (-1, 1),
    "case_marks.probability": (0, 1),
}

_KINDS = {"INTEGER": "integer", "REAL": "real", "TEXT": "text", "BLOB": "blob"}


def check_integrity(
    gallery: GalleryStore, progress: Callable[[int, int], None] | None = None
) -> Iterator[str]:
    """Every fault of a gallery, one sentence each; none if it is intact.

    Every page of the file is read, every image decoded, every embedding measured.

    Args:
        gallery: to check.
        progress: called with the number of tracklets checked and of all.
    """
    try:
        for check in (_file_faults, _type_faults, _row_faults):
            faults = list(check(gallery))
            yield from faults
            if faults:  # the next check takes this one for granted
                return
        yield from _content_faults(gallery, progress)
    except StorageError as error:
        yield str(error)


def _file_faults(gallery: GalleryStore) -> Iterator[str]:
    with gallery.reading() as db:
        for (line,) in db.execute("PRAGMA integrity_check"):
            if line != "ok":
                yield f"the file is damaged: {line}"


def _type_faults(gallery: GalleryStore) -> Iterator[str]:
    """Values of another type than their column declares, which SQLite accepts."""
    with gallery.reading() as db:
        sql = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        for (table,) in db.execute(sql).fetchall():
            for _, column, declared, required, _, key in db.execute(
                f'PRAGMA table_info("{table}")'
            ):
                kinds = [_KINDS.get(declared, declared)] + (
                    ["null"] if not (required or key) else []
                )
                found = db.execute(
                    f'SELECT rowid FROM "{table}" WHERE typeof("{column}") NOT IN '
                    "(SELECT value FROM json_each(?))",
                    (json.dumps(kinds),),
                ).fetchone()
                if found:
                    yield f"{table}.{column}, row {found[0]}: not of the type {kinds[0]}"


def _row_faults(gallery: GalleryStore) -> Iterator[str]:
    with gallery.reading() as db:
        for table, row, parent, _ in db.execute("PRAGMA foreign_key_check"):
            yield f"{table}, row {row}: belongs to no row of {parent}"
        for place, (least, most) in _RANGES.items():
            table, column = place.split(".")
            sql = f'SELECT rowid, "{column}" FROM {table} WHERE "{column}" NOT BETWEEN ? AND ?'
            for row, value in db.execute(sql, (least, most)):
                yield f"{place}, row {row}: {value} is not from {least:g} to {most:g}"
        for table in ("crops", "pending"):
            sql = f"SELECT rowid FROM {table} WHERE NOT (x1 <= x2 AND y1 <= y2)"
            for (row,) in db.execute(sql):
                yield f"{table}, row {row}: a box whose sides are exchanged"
        for place, meaning, query in _FAULTS:
            for (found,) in db.execute(query):
                yield f"{place}, row {found}: {meaning.format(found)}"
        for name, sql, convert in _CONVERTED:
            for id, *row in db.execute(sql):
                try:
                    convert(row)
                except DamagedRowError as error:
                    yield f"{name}, row {id}: {error}"


_CONVERTED: tuple[tuple[str, str, Callable[[Any], object]], ...] = (
    ("gallery", f"SELECT 1, s.* FROM ({queries.STATE}) s", queries.state),
    ("gallery", f"SELECT 1, m.* FROM ({queries.MODEL}) m", queries.model),
    ("videos", f"SELECT s.id, s.* FROM ({queries.VIDEOS}) s", queries.video),
    ("chunks.frames", "SELECT rowid, frames FROM chunks", queries.frames),
    ("chunks.detections", "SELECT rowid, detections FROM chunks", queries.boxes),
    ("audit", f"SELECT id, id, {audit.COLUMNS} FROM audit", audit.entry),
    ("people", f"SELECT s.id, s.* FROM ({queries.PEOPLE.format('')}) s", people.person),
    (
        "members",
        f"SELECT tracklet, s.* FROM ({people.CONFIRMED}) s",
        people.confirmation,
    ),
    (
        "different",
        f"SELECT first, s.* FROM ({people.DIFFERENT}) s",
        people.difference,
    ),
    ("changes", "SELECT entry, rows FROM changes", changes.changed_rows),
    ("cases", f"SELECT s.id, s.* FROM ({cases.CASES}) s", cases.case_row),
    ("case_marks", f"SELECT s.tracklet, s.* FROM ({cases.MARKS}) s", cases.mark_row),
    (
        "announcements",
        f"SELECT s.id, s.* FROM ({watching.ANNOUNCEMENTS}) s",
        watching.announcement,
    ),
    ("travel_times", f"SELECT first, s.* FROM ({travel.TRAVEL_TIMES}) s", travel.travel_time),
    ("boxes.boxes", "SELECT tracklet, boxes FROM boxes", queries.boxes),
)


def _content_faults(
    gallery: GalleryStore, progress: Callable[[int, int], None] | None
) -> Iterator[str]:
    count = gallery.state().tracklets
    done = 0
    for page in gallery.pages(limit=1000):
        lengths = np.linalg.norm(page.embeddings.astype(np.float32), axis=1)
        for key in page.keys[~(np.abs(lengths - 1) <= _UNIT)].tolist():
            yield f"embeddings.mean, row {key}: not a unit vector"
        for key in page.keys.tolist():
            yield from _tracklet_faults(gallery, key)
        done += len(page.keys)
        if progress is not None:
            progress(done, count)


def _tracklet_faults(gallery: GalleryStore, key: int) -> Iterator[str]:
    for rank, crop in enumerate(gallery.crops(key)):
        place = f"rank {rank} of the tracklet with key {key}"
        try:
            decode_jpeg(crop.jpeg)
        except ValueError:
            yield f"crops.jpeg, {place}: the image cannot be decoded"
        vector = crop.embedding.astype(np.float32)
        if len(vector) != gallery.dim or not abs(float(np.linalg.norm(vector)) - 1) <= _UNIT:
            yield f"crops.embedding, {place}: not a unit vector of the model's length"
    boxes = gallery.boxes(key)
    for tracklet in gallery.tracklets_by_key([key]):
        stored = (tracklet.first_frame, tracklet.last_frame, tracklet.num_boxes)
        if len(boxes) == 0 or (np.diff(boxes["frame"]) <= 0).any():
            yield f"boxes.boxes, row {key}: the boxes of tracklet {tracklet.id} are out of order"
        elif stored != (boxes["frame"][0], boxes["frame"][-1], len(boxes)):
            yield f"tracklets, row {key}: {tracklet.id} does not agree with its boxes"
        elif (tracklet.start, tracklet.end) != (boxes["time"][0], boxes["time"][-1]):
            yield f"tracklets, row {key}: {tracklet.id} does not agree with its boxes' times"
