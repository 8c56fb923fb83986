"""Who was where when: people's tracklets as arrays, summaries of people, their visits and ways.

A visit is a person's tracklets of one camera without a longer gap between them, so that a track
that broke off and began again counts once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reid_dhm.gallery.records import TrackletFilter, from_epoch
from reid_dhm.gallery.store.gallery import MAX_ROWS, GalleryStore
from reid_dhm.gallery.store.people import Person, find_person, people
from reid_dhm.gallery.store.queries import LONGEST, checked

GAP = 60.0
"""Seconds out of view after which a person's return to a camera is a new visit."""

# A person or a camera that is not there gives NULL, which is refused as damage.
_SIGHTINGS = """SELECT t.key, p.id, c.id, v.id, t.start, t."end", v.start_time, v.utc_offset
    FROM members m JOIN tracklets t ON t.key = m.tracklet JOIN videos v ON v.id = t.video
    LEFT JOIN people p ON p.id = m.person LEFT JOIN cameras c ON c.id = v.camera"""

_PAGE = """SELECT m.person FROM members m JOIN tracklets t ON t.key = m.tracklet
    JOIN videos v ON v.id = t.video {} AND m.person > ?
    AND (? OR m.person NOT IN (SELECT id FROM people WHERE hidden)) GROUP BY m.person
    HAVING count(DISTINCT v.camera) >= ? ORDER BY m.person LIMIT ?"""


@dataclass(frozen=True, eq=False)
class Presence:
    """N tracklets of people, by person, clock and time.

    Attributes:
        keys: (N,) int64 of the tracklets.
        people: (N,) int64 number of the person of each.
        cameras: (N,) int64 camera ids.
        clocks: (N,) int64; 0 for wall-clock times, otherwise the id of the video, from whose start
            seconds are counted. Times of two clocks are not compared.
        starts, ends: (N,) float64 seconds, since 1970 UTC or from the video's start.
        names: of the cameras, by id.
        offset: seconds east of Greenwich in which wall-clock times are shown.
    """

    keys: NDArray[np.int64]
    people: NDArray[np.int64]
    cameras: NDArray[np.int64]
    clocks: NDArray[np.int64]
    starts: NDArray[np.float64]
    ends: NDArray[np.float64]
    names: dict[int, str]
    offset: int = 0

    def __len__(self) -> int:
        return len(self.keys)

    def time(self, seconds: float) -> datetime | None:
        """A wall-clock time, in the zone of :attr:`offset`."""
        return from_epoch(seconds, self.offset)

    def taken(self, which: Any) -> Presence:
        """The rows of a mask or of row numbers."""
        return replace(
            self,
            keys=self.keys[which],
            people=self.people[which],
            cameras=self.cameras[which],
            clocks=self.clocks[which],
            starts=self.starts[which],
            ends=self.ends[which],
        )

    def visits(self, gap: float = GAP) -> Presence:
        """One row for every visit, with the key of its first tracklet, in the same order."""
        order = np.lexsort((self.starts, self.cameras, self.clocks, self.people))
        found = self.taken(order)
        if not len(found):
            return found
        # Within one person, clock and camera, the end of all tracklets so far.
        same = np.ones(len(found), bool)
        same[0] = False
        for column in (found.people, found.clocks, found.cameras):
            same[1:] &= column[1:] == column[:-1]
        groups = np.cumsum(~same) - 1
        ends = _running_max(found.ends, groups)
        begins = ~same
        begins[1:] |= found.starts[1:] - ends[:-1] > gap
        first = np.flatnonzero(begins)
        last = np.append(first[1:], len(found)) - 1
        visits = found.taken(first)
        visits.ends[:] = ends[last]
        return visits.taken(np.lexsort((visits.starts, visits.clocks, visits.people)))


@dataclass(frozen=True, slots=True)
class PersonSummary:
    """A person, and where and when the person was seen.

    Attributes:
        person: number, name and counts of all tracklets.
        num_tracklets: how many match the filter; the following are theirs.
        cameras: names, in the order of first being seen there.
        first_seen, last_seen: wall-clock times; None without.
        start, end: seconds from the start of the video, for a person of one video; None for others.
        seconds: in view, summed over tracklets.
        portrait: key of the longest tracklet.
    """

    person: Person
    num_tracklets: int
    cameras: tuple[str, ...]
    first_seen: datetime | None
    last_seen: datetime | None
    start: float | None
    end: float | None
    seconds: float
    portrait: int

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            **self.person.to_dict(),
            "tracklets": self.num_tracklets,
            "confirmed": self.person.num_confirmed,
            "hidden": self.person.hidden,
            "cameras": list(self.cameras),
            "first_seen": self.first_seen.isoformat() if self.first_seen else None,
            "last_seen": self.last_seen.isoformat() if self.last_seen else None,
            "start": self.start,
            "end": self.end,
            "seconds": self.seconds,
        }


def read_presence(
    gallery: GalleryStore,
    where: TrackletFilter | None = None,
    numbers: tuple[int, int] = (0, MAX_ROWS),
) -> Presence:
    """The people's tracklets that match.

    Args:
        gallery: to read.
        where: conditions; all by default.
        numbers: only of people with these numbers, both ends included.

    Raises:
        NotFoundError: an unknown camera or video.
        StorageError: the gallery is damaged.
    """
    condition, values = gallery.condition(where)
    with gallery.snapshot() as db:
        sql = f"{_SIGHTINGS} {condition} AND m.person BETWEEN ? AND ?"
        rows = [_sighting(row) for row in db.execute(sql, (*values, *numbers)).fetchall()]
        names = {camera.id: camera.name for camera in gallery.cameras()}
    columns = list(zip(*rows, strict=True)) if rows else [()] * 7
    found = Presence(
        keys=np.array(columns[0], np.int64),
        people=np.array(columns[1], np.int64),
        cameras=np.array(columns[2], np.int64),
        clocks=np.array(columns[3], np.int64),
        starts=np.array(columns[4], np.float64),
        ends=np.array(columns[5], np.float64),
        names=names,
        offset=int(columns[6][0]) if rows else 0,
    )
    return found.taken(np.lexsort((found.keys, found.starts, found.clocks, found.people)))


def summarise(
    gallery: GalleryStore,
    where: TrackletFilter | None = None,
    min_cameras: int = 1,
    after: int = 0,
    limit: int = MAX_ROWS,
    *,
    hidden: bool = False,
) -> list[PersonSummary]:
    """The next people seen in matching tracklets, by number; time grows with their number alone.

    Args:
        gallery: which.
        where: conditions on their tracklets.
        min_cameras: least number of cameras that saw a person there.
        after: number of the last person of the page before.
        limit: most people to return.
        hidden: also people whom a user hid.
    """
    condition, values = gallery.condition(where)
    with gallery.snapshot() as db:
        sql = _PAGE.format(condition)
        page = [row[0] for row in db.execute(sql, (*values, after, hidden, min_cameras, limit))]
        if not page:
            return []
        numbers = page[0], page[-1]
        known = {person.id: person for person in people(gallery, *numbers)}
        presence = read_presence(gallery, where, numbers)
    first = np.flatnonzero(np.diff(presence.people, prepend=-1))
    found = []
    for rows in np.split(np.arange(len(presence)), first[1:]) if len(first) else ():
        own = presence.taken(rows)
        summary = _summary(known[int(own.people[0])], own)
        if len(summary.cameras) >= min_cameras and (hidden or not summary.person.hidden):
            found.append(summary)
    return found


def summary_of(gallery: GalleryStore, number: int) -> PersonSummary:
    """The summary of one person.

    Raises:
        NotFoundError: no such person.
    """
    with gallery.snapshot():
        found = find_person(gallery, number)
        return _summary(found, read_presence(gallery, TrackletFilter(person=found.id)))


def _summary(person: Person, own: Presence) -> PersonSummary:
    timed = own.clocks == 0
    one_video = len(np.unique(own.clocks)) == 1 and not timed.any()
    cameras = dict.fromkeys(own.names[camera] for camera in own.cameras.tolist())
    return PersonSummary(
        person=person,
        num_tracklets=len(own),
        cameras=tuple(cameras),
        first_seen=own.time(own.starts[timed].min()) if timed.any() else None,
        last_seen=own.time(own.ends[timed].max()) if timed.any() else None,
        start=float(own.starts.min()) if one_video else None,
        end=float(own.ends.max()) if one_video else None,
        seconds=float((own.ends - own.starts).sum()),
        portrait=int(own.keys[np.argmax(own.ends - own.starts)]),
    )


def _running_max(values: NDArray[np.float64], groups: NDArray[np.int64]) -> NDArray[np.float64]:
    """(N,) highest value so far within each group; groups ascend by one."""
    if not len(values):
        return values
    span = float(values.max() - values.min()) + 1
    return np.maximum.accumulate(values + span * groups) - span * groups


@checked(int, int, int, int, float, float, float | None, int)
def _sighting(row: Sequence[Any]) -> tuple[int, int, int, int, float, float, int]:
    key, person, camera, video, start, end, begin, offset = row
    if not 0 <= start <= end <= LONGEST:
        raise ValueError(f"a tracklet from {start:g} to {end:g} s")
    clock = video if begin is None else 0
    return key, person, camera, clock, start + (begin or 0), end + (begin or 0), offset
