"""Checking a gallery for damage; docs/gallery.md lists the invariants."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from reid_dhm.errors import StorageError
from reid_dhm.gallery.store import audit, people, queries
from reid_dhm.gallery.store.database import DamagedRowError
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.track.crops import decode_jpeg

_UNIT = 0.01  # how far the length of a float16 unit vector may be from 1

# Faults, and the queries that find them; {} is what a query finds.
_FAULTS = {
    "the tracklet with key {} has no embedding": """
        SELECT key FROM tracklets WHERE key NOT IN (SELECT tracklet FROM embeddings)""",
    "the embedding of the tracklet with key {} does not have the model's length": """
        SELECT tracklet FROM embeddings, gallery WHERE length(mean) IS NOT 2 * dim""",
    "the tracklet with key {} has no boxes": """
        SELECT key FROM tracklets WHERE key NOT IN (SELECT tracklet FROM boxes)""",
    "the tracklet with key {} has no crops": """
        SELECT key FROM tracklets WHERE key NOT IN (SELECT tracklet FROM crops)""",
    "the tracklet with key {} lacks some of its crops": """
        SELECT tracklet FROM crops GROUP BY tracklet
        HAVING min(rank) <> 0 OR max(rank) <> count(*) - 1""",
    "video {} is complete but keeps unfinished work": """
        SELECT hash FROM videos WHERE complete
        AND id IN (SELECT video FROM chunks UNION SELECT video FROM pending
        UNION SELECT video FROM forgotten)""",
    "video {} has frames beyond its position": """
        SELECT v.hash FROM videos v JOIN chunks c ON c.video = v.id
        GROUP BY v.id HAVING max(c.first_frame) >= v.position""",
    "the tracklet with key {} has a label of an older release": """
        SELECT key FROM tracklets WHERE person IS NOT NULL""",
    "person {} has no tracklets": """
        SELECT id FROM people WHERE id NOT IN (SELECT person FROM members)""",
    "the tracklet with key {} is confirmed by nobody or at no time": """
        SELECT tracklet FROM members WHERE (confirmed_by IS NULL) <> (confirmed_at IS NULL)""",
    "the tracklet with key {} is one person with a tracklet that is said to be different": """
        SELECT d.first FROM different d JOIN members a ON a.tracklet = d.first
        JOIN members b ON b.tracklet = d.second WHERE a.person = b.person""",
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
                    yield f"row {found[0]} of {table} has no {kinds[0]} in {column}"


def _row_faults(gallery: GalleryStore) -> Iterator[str]:
    with gallery.reading() as db:
        for table, row, parent, _ in db.execute("PRAGMA foreign_key_check"):
            yield f"row {row} of {table} belongs to no row of {parent}"
        for meaning, query in _FAULTS.items():
            for (found,) in db.execute(query):
                yield meaning.format(found)
        for name, sql, convert in _CONVERTED:
            for id, *row in db.execute(sql):
                try:
                    convert(row)
                except DamagedRowError as error:
                    yield f"{name} {id} is damaged: {error}"


_CONVERTED: tuple[tuple[str, str, Callable[[Any], object]], ...] = (
    ("the state of the gallery", f"SELECT 1, s.* FROM ({queries.STATE}) s", queries.state),
    ("the model of the gallery", f"SELECT 1, m.* FROM ({queries.MODEL}) m", queries.model),
    ("video", f"SELECT s.id, s.* FROM ({queries.VIDEOS}) s", queries.video),
    ("chunk of video", "SELECT video, frames FROM chunks", queries.frames),
    ("chunk of video", "SELECT video, detections FROM chunks", queries.boxes),
    ("audit entry", f"SELECT id, id, {audit.COLUMNS} FROM audit", audit.entry),
    ("person", f"SELECT s.id, s.* FROM ({people.PEOPLE} GROUP BY p.id) s", people.person),
    (
        "the membership of tracklet",
        f"SELECT tracklet, s.* FROM ({people.CONFIRMED}) s",
        people.confirmation,
    ),
    (
        "the difference from tracklet",
        f"SELECT first, s.* FROM ({people.DIFFERENT}) s",
        people.difference,
    ),
    ("the boxes of tracklet", "SELECT tracklet, boxes FROM boxes", queries.boxes),
)


def _content_faults(
    gallery: GalleryStore, progress: Callable[[int, int], None] | None
) -> Iterator[str]:
    count = gallery.state().tracklets
    done = 0
    for page in gallery.pages(limit=1000):
        lengths = np.linalg.norm(page.embeddings.astype(np.float32), axis=1)
        for key in page.keys[~(np.abs(lengths - 1) <= _UNIT)].tolist():
            yield f"the embedding of the tracklet with key {key} is not a unit vector"
        for key in page.keys.tolist():
            yield from _tracklet_faults(gallery, key)
        done += len(page.keys)
        if progress is not None:
            progress(done, count)


def _tracklet_faults(gallery: GalleryStore, key: int) -> Iterator[str]:
    for crop in gallery.crops(key):
        try:
            decode_jpeg(crop.jpeg)
        except ValueError:
            yield f"an image of the tracklet with key {key} cannot be decoded"
        vector = crop.embedding.astype(np.float32)
        if len(vector) != gallery.dim or not abs(float(np.linalg.norm(vector)) - 1) <= _UNIT:
            yield f"an embedding of the tracklet with key {key} is damaged"
    boxes = gallery.boxes(key)
    for tracklet in gallery.tracklets_by_key([key]):
        stored = (tracklet.first_frame, tracklet.last_frame, tracklet.num_boxes)
        if len(boxes) == 0 or (np.diff(boxes["frame"]) <= 0).any():
            yield f"the boxes of tracklet {tracklet.id} are out of order"
        elif stored != (boxes["frame"][0], boxes["frame"][-1], len(boxes)):
            yield f"tracklet {tracklet.id} does not agree with its boxes"
        elif (tracklet.start, tracklet.end) != (boxes["time"][0], boxes["time"][-1]):
            yield f"tracklet {tracklet.id} does not agree with its boxes' times"
