"""Writing which tracklets were found to be one person; what users said is never overwritten."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.store.people import MEMBERS, Members, as_members
from reid_dhm.gallery.store.queries import checked

_REVISION = """SELECT revision, 1 + coalesce((SELECT max(seq) FROM sqlite_sequence
    WHERE name = 'people'), 0) FROM gallery"""
_KNOWN = "(p.name IS NOT NULL OR p.hidden OR p.id IN (SELECT person FROM watched))"


Said = tuple[str, str]
"""By whom something was said, and when (ISO 8601)."""


class Revision(NamedTuple):
    """By which a computation detects that people were changed meanwhile.

    Attributes:
        number: grows with every change of people, found or said.
        next_person: number of the next new person; all above it are free as well.
    """

    number: int
    next_person: int


@dataclass(frozen=True, slots=True)
class Assignment:
    """What assigning tracklets to people changed.

    Attributes:
        people: number of people in the gallery now.
        new, gone: how many of them are new, and how many earlier ones are no more.
        moved: tracklets that changed from one person to another.
        added: tracklets that belonged to nobody before.
    """

    people: int
    new: int
    gone: int
    moved: int
    added: int


def revision(gallery: GalleryStore) -> Revision:
    """The current one."""
    with gallery.reading() as db:
        return _revision(db.execute(_REVISION).fetchone())


def assign(
    gallery: GalleryStore,
    keys: NDArray[np.int64],
    persons: NDArray[np.int64],
    based_on: Revision,
) -> Assignment | None:
    """Make found tracklets the people of these numbers; confirmed ones stay where they are.

    Args:
        gallery: which.
        keys: (N,) keys of tracklets; those that were deleted meanwhile are left out.
        persons: (N,) number of the person of each: one there is, or a free one.
        based_on: the revision that the numbers were computed from.

    Returns:
        What changed; None, and nothing has, if people were changed since that revision.
    """
    with gallery.writing() as db:
        if _revision(db.execute(_REVISION).fetchone()) != based_on:
            return None
        there = np.fromiter((row[0] for row in db.execute("SELECT key FROM tracklets")), np.int64)
        alive = np.isin(keys, there)
        keys, persons = keys[alive], persons[alive]
        before, confirmed = _people_of(
            keys, as_members(db.execute(MEMBERS + " ORDER BY tracklet").fetchall())
        )
        changed = (persons != before) & ~confirmed
        known = np.fromiter((row[0] for row in db.execute("SELECT id FROM people")), np.int64)
        new = np.setdiff1d(persons[changed], known)
        db.executemany("INSERT INTO people (id) VALUES (?)", ((n,) for n in new.tolist()))
        db.executemany(
            "INSERT INTO members (tracklet, person) VALUES (?, ?) "
            "ON CONFLICT (tracklet) DO UPDATE SET person = excluded.person",
            zip(keys[changed].tolist(), persons[changed].tolist(), strict=True),
        )
        gone = remove_empty(db)
        count_change(db)
    return Assignment(
        people=len(known) + len(new) - gone,
        new=len(new),
        gone=gone,
        moved=int((changed & (before > 0)).sum()),
        added=int((changed & (before == 0)).sum()),
    )


def count_change(db: Any) -> None:
    """Count a change of people, within its transaction."""
    db.execute("UPDATE gallery SET revision = revision + 1")


def remove_empty(db: Any) -> int:
    """Delete people without tracklets, within a transaction; returns how many there were."""
    sql = "DELETE FROM people WHERE id NOT IN (SELECT person FROM members)"
    return int(db.execute(sql).rowcount)


def anchor(db: Any, number: int, said: Said) -> None:
    """Confirm the longest tracklet of a person of whom none is confirmed, so that it lasts."""
    db.execute(
        "UPDATE members SET confirmed_by = ?2, confirmed_at = ?3 WHERE tracklet = (SELECT "
        "m.tracklet FROM members m JOIN tracklets t ON t.key = m.tracklet WHERE m.person = ?1 "
        "ORDER BY t.num_boxes DESC, t.key LIMIT 1) AND NOT EXISTS "
        "(SELECT 1 FROM members WHERE person = ?1 AND confirmed_by IS NOT NULL)",
        (number, *said),
    )


def anchor_known(db: Any, said: Said) -> None:
    """Confirm a tracklet of everybody named, hidden or watched of whom none is confirmed."""
    sql = f"""SELECT id FROM people p WHERE {_KNOWN} AND id NOT IN
        (SELECT person FROM members WHERE confirmed_by IS NOT NULL)"""
    for (number,) in db.execute(sql).fetchall():
        anchor(db, number, said)


def said_of_people(db: Any) -> dict[int, Said]:
    """Who confirmed a tracklet of each named, hidden or watched person, and when, by number."""
    sql = f"""SELECT m.person, m.confirmed_by, m.confirmed_at FROM members m JOIN people p
        ON p.id = m.person WHERE {_KNOWN} AND m.confirmed_by IS NOT NULL
        ORDER BY m.confirmed_at"""
    return {number: (by, at) for number, by, at in map(_said, db.execute(sql).fetchall())}


@checked(int, str, str)
def _said(row: Sequence[Any]) -> tuple[int, str, str]:
    return row[0], row[1], row[2]


@checked(int, int)
def _revision(row: Sequence[Any]) -> Revision:
    return Revision(*row)


def _people_of(
    keys: NDArray[np.int64], members: Members
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The person of every key, 0 for none, and whether it is confirmed."""
    people, confirmed = np.zeros(len(keys), np.int64), np.zeros(len(keys), bool)
    if len(members.keys):
        places = np.minimum(np.searchsorted(members.keys, keys), len(members.keys) - 1)
        found = members.keys[places] == keys
        people[found] = members.people[places[found]]
        confirmed[found] = members.confirmed[places[found]]
    return people, confirmed
