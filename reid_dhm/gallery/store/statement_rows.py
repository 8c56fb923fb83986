"""The rows that statements about people read and change, within a transaction."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from reid_dhm.errors import InputError
from reid_dhm.gallery.records import check_name
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.store.membership import Said
from reid_dhm.gallery.store.people import Person, difference, person
from reid_dhm.gallery.store.queries import PEOPLE, checked

_MOST_PAIRS = 20_000  # of tracklets that one split tells apart: rows, and megabytes to undo it
_ANY = "IN (SELECT value FROM json_each(?))"


def check_new_name(name: str) -> None:
    """Refuse a name that a person cannot get."""
    check_name("person", name)
    if name.isdecimal():
        raise InputError(f"person name {name!r} is not allowed: digits alone are a person's number")


def new_person(db: Any, name: str | None = None) -> int:
    """Number of a new person, who has no tracklets yet."""
    return int(db.execute("INSERT INTO people (name) VALUES (?)", (name,)).lastrowid)


def set_name(db: Any, number: int, name: str | None) -> None:
    """Give a person a name that nobody else has.

    Raises:
        InputError: somebody has it.
    """
    owner = db.execute("SELECT id FROM people WHERE name = ?", (name,)).fetchone()
    if owner is not None and owner[0] != number:
        raise InputError(
            f"person {owner[0]} has the name {name!r} already: reid-dhm people merge {owner[0]} "
            f"{number} makes them one"
        )
    db.execute("UPDATE people SET name = ? WHERE id = ?", (name, number))


def people_of(db: Any, keys: Sequence[int]) -> list[Person]:
    """The people whom any of these tracklets belong to, by number."""
    sql = f"SELECT person FROM members WHERE tracklet {_ANY}"
    return _people(db, f"WHERE p.id IN ({sql})", json.dumps(keys))


def people_numbered(db: Any, gallery: GalleryStore, numbers: Sequence[int]) -> list[Person]:
    """The people of these numbers, in this order.

    Raises:
        InputError: one of them is gone.
    """
    found = {p.id: p for p in _people(db, f"WHERE p.id {_ANY}", json.dumps(numbers))}
    if gone := [number for number in numbers if number not in found]:
        raise InputError(f"{gallery.folder} has no person {gone[0]} any more: see people list")
    return [found[number] for number in numbers]


def _people(db: Any, condition: str, value: str) -> list[Person]:
    sql = PEOPLE.format(condition)
    return [person(row) for row in db.execute(sql, (value,)).fetchall()]


def most_known(people: Sequence[Person]) -> int:
    """Number of the person with a name, or else with the most tracklets."""
    return max(people, key=lambda p: (p.name is not None, p.num_tracklets, -p.id)).id


def tracklets_of(db: Any, people: Sequence[int], confirmed: bool = False) -> list[int]:
    """Keys of the tracklets of these people; with ``confirmed``, those that users confirmed."""
    sql = f"SELECT tracklet FROM members WHERE person {_ANY}"
    if confirmed:
        sql += " AND confirmed_by IS NOT NULL"
    return [_key(row) for row in db.execute(sql, (json.dumps(people),)).fetchall()]


@checked(int)
def _key(row: Sequence[Any]) -> int:
    return int(row[0])


def join(db: Any, people: Sequence[int], target: int) -> None:
    """Make the tracklets of these people another person's, who is watched if one of them was."""
    of_these = target, json.dumps(people)
    db.execute(f"UPDATE members SET person = ? WHERE person {_ANY}", of_these)
    carry_watch(db, people, target)


def carry_watch(db: Any, people: Sequence[int], target: int) -> None:
    """Announcements of these people become another's, who is watched if one of them was."""
    of_these = target, json.dumps(people)
    db.execute(f"UPDATE announcements SET person = ? WHERE person {_ANY}", of_these)
    watched = "INSERT OR IGNORE INTO watched SELECT ?, said_by, said_at, after FROM watched "
    db.execute(f"{watched} WHERE person {_ANY} ORDER BY after", of_these)


def confirm(db: Any, keys: Sequence[int], target: int, said: Said) -> int:
    """Confirm tracklets as a person's; earlier confirmations of the same person stay."""
    return int(
        db.executemany(
            "INSERT INTO members VALUES (?, ?, ?, ?) ON CONFLICT (tracklet) DO UPDATE SET "
            "person = excluded.person, confirmed_by = excluded.confirmed_by, "
            "confirmed_at = excluded.confirmed_at "
            "WHERE person <> excluded.person OR confirmed_by IS NULL",
            [(key, target, *said) for key in keys],
        ).rowcount
    )


def set_apart(db: Any, source: Person, keys: Sequence[int], said: Said) -> int:
    """Make some of a person's tracklets a new person, different from what is left.

    Confirmed ones among them were said to be one person and remain so; a single one was confirmed
    as the person that it is not, so that is withdrawn. A name stays with what is left.

    Returns:
        Number of the new person.

    Raises:
        InputError: too many pairs of them to be kept, unless it is a single tracklet.
    """
    rest = sorted({*tracklets_of(db, [source.id])} - {*keys})
    if len(keys) > 1 and len(keys) * len(rest) > _MOST_PAIRS:
        most = max(1, _MOST_PAIRS // (len(keys) + len(rest)))
        raise InputError(
            f"{len(keys)} of {len(keys) + len(rest)} tracklets of person {source.label} are too "
            f"many to split at once: split up to {most} at a time, and merge the new people"
        )
    target, own = new_person(db), json.dumps(keys)
    db.execute(f"UPDATE members SET person = ? WHERE tracklet {_ANY}", (target, own))
    if len(tracklets_of(db, [target], confirmed=True)) == 1:
        db.execute(
            "UPDATE members SET confirmed_by = NULL, confirmed_at = NULL WHERE person = ?",
            (target,),
        )
    db.executemany(
        "INSERT OR IGNORE INTO different VALUES (?, ?, ?, ?)",
        ((min(a, b), max(a, b), *said) for a in keys for b in rest),
    )
    return target


def forget_differences(db: Any, keys: Sequence[int], others: Sequence[int]) -> None:
    """Withdraw what was said to be different between two sets of tracklets."""
    one, other = json.dumps(keys), json.dumps(others)
    for first, second in ((one, other), (other, one)):
        sql = f"DELETE FROM different WHERE first {_ANY} AND second {_ANY}"
        db.execute(sql, (first, second))


def refuse_differences(
    db: Any, gallery: GalleryStore, keys: Sequence[int], people: Sequence[Person]
) -> None:
    """Raise InputError if any two of these tracklets of these people were said to be different."""
    sql = f"SELECT * FROM different WHERE first {_ANY} AND second {_ANY}"
    row = db.execute(sql, (json.dumps(keys), json.dumps(keys))).fetchone()
    if row is None:
        return
    first, second, said = difference(row)
    one, other = gallery.tracklets_by_key([first, second])
    command = f"link {one.id} {other.id}"
    if len(people) > 1:
        command = f"merge {' '.join(str(p.id) for p in people)}"
    raise InputError(
        f"{said.by} said on {said.at:%Y-%m-%d %H:%M} that {one.id} and {other.id} are two people: "
        f"reid-dhm people {command} withdraws that"
    )
