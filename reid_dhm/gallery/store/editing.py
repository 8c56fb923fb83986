"""Changing what a gallery says: who is who, and forgetting people for good."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import count
from typing import Any

import numpy as np

from reid_dhm.errors import InputError, LockedError, StorageError
from reid_dhm.gallery.records import FRAME, TrackletFilter, TrackletId
from reid_dhm.gallery.store.gallery import GalleryStore, queries

logger = logging.getLogger(__name__)


def label(gallery: GalleryStore, tracklets: Sequence[TrackletId], person: str | None) -> int:
    """Say that these tracklets show ``person``, or nobody known; returns how many changed.

    Raises:
        InputError: a tracklet that is not there, or an empty name.
    """
    if person is not None and not person.strip():
        raise InputError("the person's name is empty: give one, or none to take it away")
    keys = [gallery.tracklet(tracklet).key for tracklet in tracklets]
    with gallery.writing() as db:
        changed = db.executemany(
            "UPDATE tracklets SET person = ? WHERE key = ? AND person IS NOT ?",
            [(person, key, person) for key in keys],
        )
        return int(changed.rowcount)


def common_name(gallery: GalleryStore, tracklets: Sequence[TrackletId]) -> str:
    """The first name that one of these tracklets has, or a new one: ``person 7``.

    Raises:
        InputError: a tracklet that is not there.
    """
    named = [person for id in tracklets if (person := gallery.tracklet(id).person)]
    known = people(gallery)
    return (
        named[0] if named else next(n for n in map("person {}".format, count(1)) if n not in known)
    )


def people(gallery: GalleryStore) -> dict[str, int]:
    """Every person's name with the number of tracklets, by name."""
    sql = (
        "SELECT person, count(*) FROM tracklets WHERE person IS NOT NULL GROUP BY person "
        "ORDER BY person"
    )
    with gallery.reading() as db:
        return dict(db.execute(sql).fetchall())


def unfinished(gallery: GalleryStore, where: TrackletFilter) -> int:
    """How many tracks of videos that are not indexed to their end satisfy the conditions.

    They are no tracklets yet, but their images are kept; they have neither an id nor a name.
    """
    if not _reaches_unfinished(where):
        return 0
    condition, values = gallery.condition(where)
    with gallery.reading() as db:
        return int(db.execute(queries.COUNT_UNFINISHED + condition, values).fetchone()[0])


def delete(gallery: GalleryStore, where: TrackletFilter, shown: Iterable[int] | None = None) -> int:
    """Delete tracklets with everything about them, for good; returns how many.

    Videos and cameras stay. What was deleted is overwritten in the file, and the cache emptied.
    Tracks of videos that are not indexed to their end are deleted and counted as well
    (:func:`unfinished`). Whoever is indexing one of those videos, now or later, adds nobody who was
    seen in the span again; a span without an end reaches to what is indexed now.

    Args:
        gallery: which.
        where: conditions.
        shown: keys of the tracklets that were agreed on; others are left, whatever they satisfy.

    Raises:
        InputError: no condition at all.
    """
    if not where:
        raise InputError("nothing says what to delete: name tracklets, a camera or a time")
    condition, values = gallery.condition(where)
    agreed, keys = "", []
    if shown is not None:
        agreed = " AND t.key IN (SELECT value FROM json_each(?))"
        keys = [json.dumps([int(key) for key in shown])]
    with _forgetting(gallery) as db:
        sql = queries.DELETE.format(condition + agreed)
        gone = int(db.execute(sql, [*values, *keys]).rowcount)
        if _reaches_unfinished(where):
            gone += db.execute(queries.COUNT_UNFINISHED + condition, values).fetchone()[0]
            db.execute(queries.DELETE_UNFINISHED.format(condition), values)
            _keep_forgotten(db, where)
    return gone


def delete_video(gallery: GalleryStore, hash: str) -> int:
    """Delete a video and all tracklets in it, unfinished ones included; returns how many."""
    found, where = gallery.video(hash), TrackletFilter(videos=[hash])
    with _forgetting(gallery) as db:
        gone = gallery.count(where) + unfinished(gallery, where)
        db.execute("DELETE FROM videos WHERE id = ?", (found.id,))
    return gone


def delete_camera(gallery: GalleryStore, name: str) -> int:
    """Delete a camera, its videos and all tracklets in them, unfinished ones included.

    Returns:
        How many tracklets.
    """
    found, where = gallery.camera(name), TrackletFilter(cameras=[name])
    with _forgetting(gallery) as db:
        gone = gallery.count(where) + unfinished(gallery, where)
        db.execute("DELETE FROM cameras WHERE id = ?", (found.id,))
    return gone


def compact(gallery: GalleryStore) -> None:
    """Rewrite the file without its free pages, and empty the write-ahead log.

    Raises:
        LockedError: another process is reading.
        StorageError: the folder cannot be written, or the disk cannot hold a copy.
    """
    if not os.access(gallery.folder, os.W_OK):
        raise StorageError(f"{gallery.folder} cannot be written: allow writing to it")
    with gallery.reading() as db:
        # The copy, as large as the gallery, is a file beside it instead of in memory or elsewhere.
        folder = str(gallery.folder.resolve()).replace("'", "''")
        db.execute(f"PRAGMA temp_store_directory = '{folder}'")
        db.execute("PRAGMA temp_store = FILE")
        try:
            db.execute("VACUUM")
        finally:
            db.execute("PRAGMA temp_store = MEMORY")
            db.execute("PRAGMA temp_store_directory = ''")
    if not gallery.empty_log():
        raise LockedError(
            f"{gallery.path} is being read by another process: try again when that is done"
        )


@contextmanager
def _forgetting(gallery: GalleryStore) -> Iterator[Any]:
    # Before, so that no index outlives what it was built from; after, in case somebody wrote one
    # from the old content meanwhile.
    gallery.empty_cache()
    with gallery.writing(deleted=True) as db:
        yield db
    try:
        gallery.empty_cache()
    finally:
        if not gallery.empty_log():
            logger.warning(
                "%s is being read by another process, so traces of what was deleted stay in "
                "%s-wal until reid-dhm gallery compact is run",
                *(gallery.path, gallery.path),
            )


def _reaches_unfinished(where: TrackletFilter) -> bool:
    return not where.tracklets and where.person is None


def _keep_forgotten(db: Any, where: TrackletFilter) -> None:
    """Write down which spans of unfinished videos are forgotten, for whoever indexes them."""
    condition, values = queries.condition(
        TrackletFilter(videos=where.videos, cameras=where.cameras)
    )
    sql = f"SELECT v.id, v.start_time FROM videos v {condition} AND NOT v.complete"
    for video, start in db.execute(sql, values).fetchall():
        bounds = [_from_start(bound, start) for bound in (where.after, where.before)]
        if where.before is None:
            bounds[1] = _looked_at(db, video)
        if not np.isnan([bound for bound in bounds if bound is not None]).any():
            db.execute("INSERT INTO forgotten VALUES (?, ?, ?)", (video, *bounds))


def _from_start(bound: float | datetime | None, start: float | None) -> float | None:
    """Seconds from a video's first frame; NaN for a moment of which the video knows nothing."""
    if isinstance(bound, datetime):
        return np.nan if start is None else bound.timestamp() - start
    return bound


def _looked_at(db: Any, video: int) -> float:
    """When the last frame is that was looked at; NaN where there is none."""
    sql = "SELECT frames FROM chunks WHERE video = ? ORDER BY first_frame DESC LIMIT 1"
    row = db.execute(sql, (video,)).fetchone()
    return np.nan if row is None else float(np.frombuffer(row[0], FRAME)["time"][-1])
