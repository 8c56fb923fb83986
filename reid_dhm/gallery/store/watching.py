"""Watched people, what is announced of them, and how far each receiver has got.

Announcements are stored in the transaction that finds them, so that none is lost; sending them is
left to :mod:`reid_dhm.gallery.alerts`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reid_dhm.gallery.records import from_epoch
from reid_dhm.gallery.store import audit
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.store.membership import anchor, count_change
from reid_dhm.gallery.store.people import Person, person
from reid_dhm.gallery.store.queries import PEOPLE, checked
from reid_dhm.gallery.store.statement_rows import people_numbered

GAP = 60.0
"""Seconds out of one camera's view after which a return is another appearance."""

_KEPT = timedelta(days=7)
_DELIVERED = "(SELECT coalesce(min(last), 0) FROM receivers)"  # the last that all receivers got
_LAST = "(SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'tracklets')"
# Seconds since 1970 of videos with a wall-clock time, otherwise from the video's start.
_SEEN = """SELECT t.key, v.id, v.camera, v.start_time IS NULL,
    coalesce(v.start_time, 0) + t.start, coalesce(v.start_time, 0) + t."end"
    FROM tracklets t JOIN videos v ON v.id = t.video
    WHERE t.key IN (SELECT value FROM json_each(?)) ORDER BY 5, 1"""
_SAME_APPEARANCE = """SELECT a.id FROM announcements a JOIN videos w ON w.id = a.video
    WHERE a.person = ?1 AND w.camera = ?2 AND (w.start_time IS NULL) = ?3 AND (NOT ?3 OR w.id = ?4)
    AND a.start <= ?6 AND a."end" >= ?5 ORDER BY a.id LIMIT 1"""
ANNOUNCEMENTS = """SELECT a.id, a.person, p.name, c.name, v.hash, t.track, a.start, a."end",
    v.start_time IS NULL, v.utc_offset, a.made FROM announcements a JOIN people p ON p.id = a.person
    JOIN videos v ON v.id = a.video JOIN cameras c ON c.id = v.camera
    LEFT JOIN tracklets t ON t.key = a.tracklet"""
_PENDING = f"""{ANNOUNCEMENTS}
    WHERE a.id > (SELECT last FROM receivers WHERE name = ?) ORDER BY a.id LIMIT ?"""


@dataclass(frozen=True, slots=True)
class Announcement:
    """A watched person was seen.

    Attributes:
        id: ascending, never used again; a receiver that gets it twice knows by it.
        person: number.
        name: of the person; None without.
        camera: that saw the person.
        video: content hash.
        tracklet: id of the first tracklet of the appearance, if it is still there.
        start, end: seconds from the video's start; None where it has wall-clock times.
        start_time, end_time: wall-clock times; None without.
        made: when it was found (UTC).
    """

    id: int
    person: int
    name: str | None
    camera: str
    video: str
    tracklet: str | None
    start: float | None
    end: float | None
    start_time: datetime | None
    end_time: datetime | None
    made: datetime

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready values."""
        times = {
            name: None if moment is None else moment.isoformat()
            for name, moment in (
                ("start_time", self.start_time),
                ("end_time", self.end_time),
                ("made", self.made),
            )
        }
        return {
            "event": "appearance",
            "id": self.id,
            "person_id": self.person,
            "person": self.name or str(self.person),
            "camera": self.camera,
            "video": self.video,
            "tracklet": self.tracklet,
            "start": self.start,
            "end": self.end,
            **times,
        }


def watch(gallery: GalleryStore, who: Person, actor: str | None = None) -> None:
    """Announce a person in footage that is indexed from now on, for as long as the person lasts.

    Raises:
        InputError: the person is gone.
    """
    said = audit.who_and_when(actor)
    with gallery.writing() as db:
        people_numbered(db, gallery, [who.id])
        anchor(db, who.id, said)
        db.execute(f"INSERT OR IGNORE INTO watched VALUES (?, ?, ?, {_LAST})", (who.id, *said))
        count_change(db)
        audit.insert(db, "watch", {"person": who.id, "watched": True}, *said)


def unwatch(gallery: GalleryStore, who: Person, actor: str | None = None) -> bool:
    """Announce a person no longer; returns whether the person was watched.

    What is announced of the person and did not reach every receiver yet is deleted.
    """
    with gallery.writing() as db:
        done = bool(db.execute("DELETE FROM watched WHERE person = ?", (who.id,)).rowcount)
        sql = f"DELETE FROM announcements WHERE person = ? AND id > {_DELIVERED}"
        db.execute(sql, (who.id,))
        audit.record(gallery, "watch", {"person": who.id, "watched": False}, actor)
    return done


def watched(gallery: GalleryStore) -> list[Person]:
    """The people who are watched, by number."""
    sql = PEOPLE.format("WHERE p.id IN (SELECT person FROM watched)")
    with gallery.reading() as db:
        return [person(row) for row in db.execute(sql).fetchall()]


def announce(gallery: GalleryStore, keys: NDArray[np.int64], persons: NDArray[np.int64]) -> int:
    """Announce the watched ones among new tracklets, each appearance once.

    An appearance goes on as long as a camera loses the person for no more than :data:`GAP` seconds.
    What every receiver got is kept for a week for that, and then deleted.

    Args:
        gallery: which.
        keys: (N,) of tracklets that have a person now and had none before.
        persons: (N,) their people.

    Returns:
        Number of announcements.
    """
    made = 0
    now = datetime.now(timezone.utc)
    with gallery.writing() as db:
        sql = f"DELETE FROM announcements WHERE made < ? AND id <= {_DELIVERED}"
        db.execute(sql, ((now - _KEPT).isoformat(),))
        wanted = dict(db.execute("SELECT person, after FROM watched").fetchall())
        of = {
            key: number
            for key, number in zip(keys.tolist(), persons.tolist(), strict=True)
            if key > wanted.get(number, key)
        }
        for row in db.execute(_SEEN, (json.dumps(list(of)),)).fetchall():
            key, video, camera, untimed, start, end = _seen(row)
            same = db.execute(
                _SAME_APPEARANCE, (of[key], camera, untimed, video, start - GAP, end + GAP)
            ).fetchone()
            if same is not None:
                sql = 'UPDATE announcements SET "end" = max("end", ?), start = min(start, ?) '
                db.execute(sql + "WHERE id = ?", (end, start, same[0]))
                continue
            db.execute(
                'INSERT INTO announcements (person, video, tracklet, start, "end", made) '
                "VALUES (?, ?, ?, ?, ?, ?)",
                (of[key], video, key, start, end, now.isoformat()),
            )
            made += 1
    return made


def add_receiver(gallery: GalleryStore, name: str) -> None:
    """Let a receiver get what is announced from now on; one that is known goes on where it was."""
    sql = """INSERT OR IGNORE INTO receivers VALUES (?,
        (SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'announcements'))"""
    with gallery.writing() as db:
        db.execute(sql, (name,))


def pending(gallery: GalleryStore, receiver: str, limit: int = 100) -> list[Announcement]:
    """The next announcements that a receiver did not get, in the order they were made."""
    with gallery.reading() as db:
        rows = db.execute(_PENDING, (receiver, limit)).fetchall()
        return [announcement(row) for row in rows]


def delivered(gallery: GalleryStore, receiver: str, id: int) -> None:
    """A receiver got this announcement and all before it."""
    with gallery.writing() as db:
        db.execute("UPDATE receivers SET last = max(last, ?) WHERE name = ?", (id, receiver))


@checked(int, int, int, int, float, float)
def _seen(row: Sequence[Any]) -> tuple[int, int, int, int, float, float]:
    key, video, camera, untimed, start, end = row
    return key, video, camera, untimed, start, end


@checked(int, int, str | None, str, str, int | None, float, float, int, int, str)
def announcement(row: Sequence[Any]) -> Announcement:
    """A row of :data:`ANNOUNCEMENTS`."""
    id, number, name, camera, video, track, start, end, untimed, offset, made = row
    return Announcement(
        *(id, number, name, camera, video),
        tracklet=None if track is None else f"{video}-{track}",
        start=start if untimed else None,
        end=end if untimed else None,
        start_time=None if untimed else from_epoch(start, offset),
        end_time=None if untimed else from_epoch(end, offset),
        made=datetime.fromisoformat(made),
    )
