"""Reading who is who: people as sets of tracklets, and what users said about them.

A tracklet belongs to a person because it was found to, or because somebody confirmed it.
:mod:`.statements` writes what users say, :mod:`.membership` what was found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reid_dhm.errors import NotFoundError
from reid_dhm.gallery.records import TrackletFilter
from reid_dhm.gallery.store import filters
from reid_dhm.gallery.store.database import DamagedRowError, translated_errors
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.store.queries import checked
from reid_dhm.gallery.store.reader import MAX_ROWS, GalleryReader

MEMBERS = "SELECT tracklet, person, confirmed_by IS NOT NULL FROM members"
CONFIRMED = "SELECT tracklet, confirmed_by, confirmed_at FROM members"
DIFFERENT = "SELECT first, second, said_by, said_at FROM different"


@dataclass(frozen=True, slots=True)
class Person:
    """A person of the gallery.

    Attributes:
        id: number, never reused.
        name: given by a user; unique; None without.
        num_tracklets: how many belong to the person.
        num_confirmed: how many of them a user confirmed.
        hidden: whether a user hid the person from lists.
    """

    id: int
    name: str | None
    num_tracklets: int
    num_confirmed: int
    hidden: bool = False

    @property
    def label(self) -> str:
        """The name, or the number of a person without one; commands take it."""
        return self.name or str(self.id)

    @property
    def title(self) -> str:
        """``person 7``, or ``person 7 (Anna)``."""
        return f"person {self.id}" + (f" ({self.name})" if self.name else "")

    def to_dict(self) -> dict[str, Any]:
        """Label, number and name, as JSON-ready values."""
        return {"person": self.label, "person_id": self.id, "name": self.name}


class Members(NamedTuple):
    """The tracklets of all people, by key.

    Attributes:
        keys: (N,) int64 of the tracklets, ascending.
        people: (N,) int64 numbers of their people.
        confirmed: (N,) bool, whether a user confirmed it.
    """

    keys: NDArray[np.int64]
    people: NDArray[np.int64]
    confirmed: NDArray[np.bool_]


class Confirmation(NamedTuple):
    """Who confirmed that a tracklet shows a person, and when (UTC)."""

    by: str
    at: datetime


def people(gallery: GalleryReader, first: int = 0, last: int = MAX_ROWS) -> list[Person]:
    """The people with these numbers, both ends included; all by default."""
    with translated_errors(gallery.path):
        return list(map(person, gallery.person_rows(None, first, last)))


def find_person(gallery: GalleryReader, who: str | int) -> Person:
    """The person of a number; a text is a name, or else a number.

    Raises:
        NotFoundError: there is none.
    """
    with translated_errors(gallery.path):
        for row in gallery.person_rows(who):
            return person(row)
    raise NotFoundError(
        f"{gallery.folder} has no person {str(who)[:60]!r}: give a number or a name as `reid-dhm "
        "people list` prints it"
    )


def describe(gallery: GalleryReader, where: TrackletFilter) -> dict[str, Any]:
    """The conditions that are given, for the audit log; a person by number, which is no name."""
    words = filters.describe(where)
    if where.person is not None:
        try:
            words["person"] = find_person(gallery, where.person).id
        except NotFoundError:
            words["person"] = None
    return words


def members(gallery: GalleryStore) -> Members:
    """The tracklets of all people, by key."""
    with gallery.reading() as db:
        return as_members(db.execute(MEMBERS + " ORDER BY tracklet").fetchall())


def as_members(rows: Sequence[Sequence[Any]]) -> Members:
    """Rows of :data:`MEMBERS`, by key, as arrays."""
    keys, numbers, confirmed = zip(*rows, strict=True) if rows else ((), (), ())
    try:
        return Members(
            np.array(keys, np.int64), np.array(numbers, np.int64), np.array(confirmed, bool)
        )
    except (ValueError, TypeError, OverflowError) as error:
        raise DamagedRowError(str(error)[:200]) from error


def confirmations(gallery: GalleryStore, person: int) -> dict[int, Confirmation | None]:
    """How each tracklet of a person, by key, came in: confirmed, or None if it was found."""
    sql = CONFIRMED + " WHERE person = ?"
    with gallery.reading() as db:
        return dict(map(confirmation, db.execute(sql, (person,)).fetchall()))


def different(gallery: GalleryStore) -> NDArray[np.int64]:
    """(N, 2) int64 keys of tracklets that users said show two people."""
    with gallery.reading() as db:
        rows = db.execute(DIFFERENT + " ORDER BY first, second").fetchall()
        pairs = [difference(row)[:2] for row in rows]
    return np.array(pairs, np.int64).reshape(-1, 2)


@checked(int, str | None, int, int, int)
def person(row: Sequence[Any]) -> Person:
    """A row of :meth:`.GalleryReader.person_rows`."""
    id, name, tracklets, confirmed, hidden = row
    return Person(id, name, tracklets, confirmed, bool(hidden))


@checked(int, str | None, str | None)
def confirmation(row: Sequence[Any]) -> tuple[int, Confirmation | None]:
    """A row of :data:`CONFIRMED`."""
    key, by, at = row
    return key, None if by is None else Confirmation(by, datetime.fromisoformat(at))


@checked(int, int, str, str)
def difference(row: Sequence[Any]) -> tuple[int, int, Confirmation]:
    """A row of :data:`DIFFERENT`."""
    first, second, by, at = row
    return first, second, Confirmation(by, datetime.fromisoformat(at))
