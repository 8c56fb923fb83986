"""Deleting people for good: exactly the selected tracklets, with everything stored about them.

What was deleted is overwritten in the file, and the cache is emptied.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reid_dhm.errors import InputError
from reid_dhm.gallery.records import FRAME, TrackletFilter
from reid_dhm.gallery.store import audit, filters, queries
from reid_dhm.gallery.store.cases import CONFIRMING
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.store.membership import (
    anchor,
    count_change,
    remove_empty,
    said_of_people,
)
from reid_dhm.gallery.store.queries import checked

logger = logging.getLogger(__name__)

# Tracks that are not finished yet, from their first stored image to their last.
_UNFINISHED = """SELECT DISTINCT t.video, t.track FROM
    (SELECT video, track, min(time) AS start, max(time) AS "end" FROM pending GROUP BY video, track)
    t JOIN videos v ON v.id = t.video"""
# Announced appearances that tracklets are a part of: their times are those of what is deleted.
_ANNOUNCED = """SELECT a.id FROM tracklets t JOIN members m ON m.tracklet = t.key
    JOIN videos v ON v.id = t.video JOIN announcements a ON a.person = m.person
    JOIN videos w ON w.id = a.video WHERE {} AND w.camera = v.camera
    AND (w.id = v.id OR (w.start_time IS NOT NULL AND v.start_time IS NOT NULL))
    AND a.start <= coalesce(v.start_time, 0) + t."end"
    AND a."end" >= coalesce(v.start_time, 0) + t.start"""
_PAIRS = "SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?)"
_CHOSEN = f"(t.key IN (SELECT value FROM json_each(?)) OR (t.video, t.track) IN ({_PAIRS}))"
_WITHOUT_PEOPLE = """id NOT IN (SELECT video FROM tracklets UNION SELECT video FROM pending)"""


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """What a deletion removes, whatever is added to the gallery later.

    Attributes:
        tracklets: (N,) int64 keys, ascending.
        unfinished: row number of the video and number of the track, for every matching track of a
            video that is not indexed to its end; such tracks are no tracklets yet.
        spans: row number of the video and the span in seconds (None: open), for every such video:
            nobody seen in it is added when indexing continues.
        videos: row numbers of the videos that are deleted too, once they are empty.
        cameras: names of the cameras that are deleted too, once they have no video.
    """

    tracklets: NDArray[np.int64]
    unfinished: Sequence[tuple[int, int]]
    spans: Sequence[tuple[int, float | None, float | None]]
    videos: Sequence[int]
    cameras: Sequence[str]

    def __len__(self) -> int:
        """Number of tracklets and unfinished tracks."""
        return len(self.tracklets) + len(self.unfinished)


@dataclass(frozen=True, slots=True)
class Deletion:
    """What was deleted.

    Attributes:
        count: number of tracklets, unfinished tracks included.
        cameras: names of the cameras deleted.
        videos: number of videos deleted.
        kept: hashes of videos that were to be deleted, but got other people meanwhile.
    """

    count: int
    cameras: Sequence[str] = ()
    videos: int = 0
    kept: Sequence[str] = ()


def select(gallery: GalleryStore, where: TrackletFilter, whole: bool = False) -> Selection:
    """What matches a filter now.

    Args:
        gallery: which.
        where: conditions; one on tracklets or a person matches no unfinished track, as they have
            neither id nor label.
        whole: the filter's cameras and videos go with their tracklets.

    Raises:
        InputError: no condition.
        NotFoundError: an unknown camera or video.
    """
    if not where:
        raise InputError("nothing selects what to delete: name tracklets, a camera or a time")
    where = replace(where, exclude=())
    condition, values = gallery.condition(where)
    unfinished: Sequence[tuple[int, int]] = []
    spans: list[tuple[int, float | None, float | None]] = []
    videos: list[int] = []
    with gallery.snapshot() as db:
        keys = gallery.keys(where)
        if not where.tracklets and where.person is None:
            unfinished = unfinished_tracks(gallery, where)
            spans = list(_spans(db, where))
        if whole:
            sql = f"SELECT v.id FROM videos v {condition}"
            videos = [row[0] for row in db.execute(sql, values)]
    return Selection(keys, unfinished, spans, videos, where.cameras if whole else ())


def unfinished_tracks(gallery: GalleryStore, where: TrackletFilter) -> list[tuple[int, int]]:
    """Row number of the video and number of the track, for every matching unfinished track.

    Args:
        gallery: which.
        where: conditions on cameras, videos and times only.
    """
    condition, values = gallery.condition(where)
    with gallery.reading() as db:
        rows = db.execute(_UNFINISHED + condition, values).fetchall()
        return [_track(row) for row in rows]


def delete(
    gallery: GalleryStore, selected: Selection | TrackletFilter, whole: bool = False
) -> Deletion:
    """Delete exactly what was selected; a filter selects what matches at this moment.

    A selected track that became a tracklet meanwhile is deleted as well; tracklets and tracks that
    are new stay, and so do their videos and cameras. A process that is indexing a selected video
    adds nobody whom it saw in the selected span; a span without an end reaches to the last frame
    that was processed when it was selected.

    Raises:
        InputError, NotFoundError: as :func:`select`.
        LockedError, StorageError: as every write.
    """
    with _overwritten(gallery) as db:
        if isinstance(selected, TrackletFilter):
            selected = select(gallery, selected, whole)
        pairs = json.dumps(selected.unfinished)
        chosen = json.dumps(selected.tracklets.tolist()), pairs
        announced = _ANNOUNCED.format(_CHOSEN)
        db.execute(f"DELETE FROM announcements WHERE id IN ({announced})", chosen)
        count = db.execute(f"DELETE FROM tracklets AS t WHERE {_CHOSEN}", chosen).rowcount
        found = f"FROM pending WHERE (video, track) IN ({_PAIRS})"
        count += db.execute(
            f"SELECT count(*) FROM (SELECT DISTINCT video, track {found})", (pairs,)
        ).fetchone()[0]
        db.execute(f"DELETE {found}", (pairs,))
        db.executemany(
            "INSERT INTO forgotten SELECT id, ?2, ?3 FROM videos WHERE id = ?1 AND NOT complete",
            selected.spans,
        )
        videos = json.dumps(selected.videos)
        of_these = "FROM videos WHERE id IN (SELECT value FROM json_each(?))"
        gone = db.execute(f"DELETE {of_these} AND {_WITHOUT_PEOPLE}", (videos,)).rowcount
        kept = [hash for (hash,) in db.execute(f"SELECT hash {of_these}", (videos,))]
        cameras = [
            name
            for name in selected.cameras
            if db.execute(
                "DELETE FROM cameras WHERE name = ? AND id NOT IN (SELECT camera FROM videos)",
                (name,),
            ).rowcount
        ]
    return Deletion(count, cameras, gone, kept)


def delete_logged(
    gallery: GalleryStore,
    selected: Selection | TrackletFilter,
    detail: Mapping[str, Any],
    actor: str | None = None,
    whole: bool = False,
) -> Deletion:
    """As :func:`delete`, with an audit entry before and after.

    Args:
        gallery, selected, whole: as for :func:`delete`.
        detail, actor: as for :func:`.audit.record`.
    """
    audit.record(gallery, "delete", {**detail, "state": "asked"}, actor)
    deletion = delete(gallery, selected, whole)
    audit.record(gallery, "delete", {**detail, "state": "done", "deleted": deletion.count}, actor)
    return deletion


@contextmanager
def _overwritten(gallery: GalleryStore) -> Iterator[Any]:
    """A transaction that deletes; no trace stays in the cache and in the write-ahead log.

    People without any tracklet left go too, and so do thresholds: they rest on what was deleted;
    what is kept to undo statements, because it holds names; and cases of whose confirmed
    tracklets none is left.
    A name lasts as long as its person: it then rests on another of the person's tracklets.
    """
    # Before, so that no index outlives its content; after, in case a process wrote one from the
    # old content meanwhile.
    gallery.empty_cache()
    with gallery.writing(deleted=True) as db:
        confirming = db.execute(CONFIRMING).fetchall()
        said_of = said_of_people(db)
        yield db
        remove_empty(db)
        for number, said in said_of.items():
            anchor(db, number, said)
        db.executemany(f"DELETE FROM cases WHERE id = ? AND id NOT IN ({CONFIRMING})", confirming)
        db.execute("DELETE FROM changes")
        db.execute("DELETE FROM announcements WHERE tracklet IS NULL")
        count_change(db)  # a pass that still counts on what was deleted is not kept
        db.execute("UPDATE gallery SET thresholds = NULL")
    try:
        gallery.empty_cache()
    finally:
        if not gallery.empty_log():
            logger.warning(
                "%s is being read by another process: traces of what was deleted stay in "
                "%s-wal until reid-dhm gallery compact is run",
                *(gallery.path, gallery.path),
            )


def _spans(db: Any, where: TrackletFilter) -> Iterator[tuple[int, float | None, float | None]]:
    """The span of a filter in every unfinished video, in seconds from its first frame."""
    condition, values = filters.condition(
        TrackletFilter(videos=where.videos, cameras=where.cameras)
    )
    sql = f"SELECT v.id, v.start_time FROM videos v {condition} AND NOT v.complete"
    for video, start in map(_video_start, db.execute(sql, values).fetchall()):
        after, before = (_from_start(bound, start) for bound in (where.after, where.before))
        if where.before is None:
            before = _last_frame_time(db, video)
        if not np.isnan([bound for bound in (after, before) if bound is not None]).any():
            yield video, after, before


@checked(int, int)
def _track(row: Sequence[Any]) -> tuple[int, int]:
    return row[0], row[1]


@checked(int, float | None)
def _video_start(row: Sequence[Any]) -> tuple[int, float | None]:
    return row[0], row[1]


def _from_start(bound: float | datetime | None, start: float | None) -> float | None:
    """Seconds from a video's first frame; NaN for a wall-clock time if its start is unknown."""
    if isinstance(bound, datetime):
        return np.nan if start is None else bound.timestamp() - start
    return bound


def _last_frame_time(db: Any, video: int) -> float:
    """Time of the last processed frame; NaN without one."""
    sql = "SELECT frames FROM chunks WHERE video = ? ORDER BY first_frame DESC LIMIT 1"
    row = db.execute(sql, (video,)).fetchone()
    frames = np.empty(0, FRAME) if row is None else queries.frames(row)
    return float(frames["time"][-1]) if len(frames) else np.nan
