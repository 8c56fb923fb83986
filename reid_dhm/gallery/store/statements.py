"""Writing what users say about people: it is kept, whatever is found later.

Every statement is one transaction with its entry in the audit log, which holds numbers of people
and no names, so that deleting a person deletes the name. A confirmed tracklet stays with
its person; two tracklets said to be different stay apart; the latest statement about a pair counts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any

from reid_dhm.errors import InputError
from reid_dhm.gallery.records import TrackletId, check_name
from reid_dhm.gallery.store import audit, changes
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.store.membership import count_change, remove_empty
from reid_dhm.gallery.store.people import PEOPLE, Person, difference, people, person
from reid_dhm.gallery.store.queries import checked

_ANY = "IN (SELECT value FROM json_each(?))"
_Said = tuple[str, str]  # by whom and when


def link(gallery: GalleryStore, tracklets: Sequence[TrackletId], actor: str | None = None) -> int:
    """Record that these tracklets are one person, and join the people they belong to.

    Args:
        gallery: which.
        tracklets: two or more.
        actor: who says so; the user of this process by default.

    Returns:
        Number of the person: the one among theirs with a name, or else with the most tracklets.

    Raises:
        InputError: fewer than two, people with two names, or tracklets of theirs that were said
            to be different.
        NotFoundError: an unknown tracklet.
    """
    if len(set(tracklets)) < 2:
        raise InputError("one person of fewer than two tracklets: give two tracklet ids or more")
    detail: dict[str, Any] = {"tracklets": [str(id) for id in tracklets]}
    with _statement(gallery, "link", detail, actor) as (db, said):
        keys = sorted({gallery.tracklet(id).key for id in tracklets})
        joined = _people_of(db, keys)
        names = [f"{p.id} ({p.name})" for p in joined if p.name is not None]
        if len(names) > 1:
            numbers = " ".join(str(p.id) for p in joined if p.name is not None)
            raise InputError(
                f"they belong to people of different names, {' and '.join(names)}: reid-dhm people "
                f"merge {numbers} --name NAME joins these"
            )
        _forget_differences(db, keys, keys)
        together = sorted({*keys, *_tracklets_of(db, [p.id for p in joined])})
        _refuse_differences(db, gallery, together, joined)
        target = _most_known(joined) if joined else _new_person(db)
        detail["person"] = target
        _join(db, [p.id for p in joined], target)
        _confirm(db, keys, target, said)
        remove_empty(db)
    return target


def merge(
    gallery: GalleryStore,
    people: Sequence[Person],
    name: str | None = None,
    actor: str | None = None,
) -> int:
    """Record that these people are one: the first, whom the others join.

    What was said to be different between them is withdrawn.

    Args:
        gallery: which.
        people: two or more.
        name: of the person; by default the name that one of them has.
        actor: who says so.

    Returns:
        Number of the person.

    Raises:
        InputError: fewer than two people, several names and ``name`` is not given, or a name that
            is not allowed or belongs to somebody else.
    """
    numbers = list(dict.fromkeys(p.id for p in people))
    if len(numbers) < 2:
        raise InputError("fewer than two people to merge: give two or more")
    if name is not None:
        _check_new_name(name)
    detail = {"people": numbers}
    with _statement(gallery, "merge", detail, actor) as (db, said):
        found = _people_numbered(db, gallery, numbers)
        names = [p.name for p in found if p.name is not None]
        if len(names) > 1 and name is None:
            quoted = " and ".join(map(repr, names))
            raise InputError(f"they have different names, {quoted}: give the person's --name")
        for each in found:
            _anchor(db, each.id, said)
        everybody = _tracklets_of(db, numbers)
        _forget_differences(db, everybody, everybody)
        _join(db, numbers, numbers[0])
        remove_empty(db)
        _set_name(db, numbers[0], name or next(iter(names), None))
    return numbers[0]


def split(
    gallery: GalleryStore, source: Person, tracklets: Sequence[TrackletId], actor: str | None = None
) -> int:
    """Record that these tracklets are not this person; they become a new one.

    Args:
        gallery: which.
        source: the person they belong to.
        tracklets: some of the person's, not all.
        actor: who says so.

    Returns:
        Number of the new person.

    Raises:
        InputError: tracklets that are not the person's, or all of them.
        NotFoundError: an unknown tracklet.
    """
    detail: dict[str, Any] = {
        "person": source.id,
        "tracklets": [str(id) for id in tracklets],
    }
    with _statement(gallery, "split", detail, actor) as (db, said):
        found = [gallery.tracklet(id) for id in tracklets]
        keys = sorted({each.key for each in found})
        if others := [each.id for each in found if each.person_id != source.id]:
            raise InputError(
                f"{others[0]} does not belong to person {source.label}: see reid-dhm people show"
            )
        rest = sorted(set(_tracklets_of(db, [source.id])) - set(keys))
        if not rest or not keys:
            raise InputError(
                f"{'all' if keys else 'no'} tracklets of person {source.label}: name those of "
                "somebody else"
            )
        detail["new_person"] = target = _new_person(db)
        db.execute(
            "UPDATE members SET person = ?, confirmed_by = NULL, confirmed_at = NULL "
            f"WHERE person = ? AND tracklet {_ANY}",
            (target, source.id, json.dumps(keys)),
        )
        db.executemany(
            "INSERT OR IGNORE INTO different VALUES (?, ?, ?, ?)",
            ((min(a, b), max(a, b), *said) for a in keys for b in rest),
        )
        if source.name is not None:
            _anchor(db, source.id, said)
    return target


def name(
    gallery: GalleryStore, named: Person, new_name: str | None, actor: str | None = None
) -> None:
    """Give a person a name, or none.

    Raises:
        InputError: a name that is not allowed, or that another person has.
        NotFoundError: the person is gone.
    """
    if new_name is not None:
        _check_new_name(new_name)
    detail = {"person": named.id, "named": new_name is not None}
    with _statement(gallery, "name", detail, actor) as (db, said):
        _people_numbered(db, gallery, [named.id])
        _anchor(db, named.id, said)
        _set_name(db, named.id, new_name)


def hide(gallery: GalleryStore, person: Person, hidden: bool, actor: str | None = None) -> None:
    """Leave a person out of lists, or show the person again; nothing is deleted.

    Raises:
        InputError: the person is gone.
    """
    with _statement(gallery, "hide", {"person": person.id, "hidden": hidden}, actor) as (db, said):
        _people_numbered(db, gallery, [person.id])
        _anchor(db, person.id, said)
        db.execute("UPDATE people SET hidden = ? WHERE id = ?", (hidden, person.id))


def tell_apart(
    gallery: GalleryStore, first: Person, second: Person, actor: str | None = None
) -> None:
    """Record that two people are not one; merging them withdraws it.

    Raises:
        InputError: one person twice, or one that is gone.
    """
    if first.id == second.id:
        raise InputError(f"person {first.label} twice: name two people")
    detail = {"people": [first.id, second.id]}
    with _statement(gallery, "tell apart", detail, actor) as (db, said):
        _people_numbered(db, gallery, [first.id, second.id])
        for each in (first, second):
            _anchor(db, each.id, said)
        one, other = (_tracklets_of(db, [p.id], confirmed=True) for p in (first, second))
        pair = sorted((min(one), min(other)))
        db.execute("INSERT OR IGNORE INTO different VALUES (?, ?, ?, ?)", (*pair, *said))


def label(
    gallery: GalleryStore,
    tracklets: Sequence[TrackletId],
    new_name: str | None,
    actor: str | None = None,
) -> int:
    """Confirm these tracklets, and no others, as the person of a name; None: as nobody.

    Args:
        gallery: which.
        tracklets: any number.
        new_name: of a person there is, or of a new one.
        actor: who says so.

    Returns:
        How many tracklets changed.

    Raises:
        InputError: a name that is not allowed.
        NotFoundError: an unknown tracklet.
    """
    if new_name is not None:
        check_name("person", new_name)
    detail: dict[str, Any] = {"tracklets": [str(id) for id in tracklets], "person": None}
    with _statement(gallery, "merge", detail, actor) as (db, said):
        keys = sorted({gallery.tracklet(id).key for id in tracklets})
        left = [p for p in _people_of(db, keys) if p.name != new_name]
        if new_name is None:
            sql = f"DELETE FROM members WHERE tracklet {_ANY}"
            changed = db.execute(sql, (json.dumps(keys),)).rowcount
        else:
            row = db.execute("SELECT id FROM people WHERE name = ?", (new_name,)).fetchone()
            if row is None:
                _check_new_name(new_name)
            detail["person"] = target = _new_person(db, new_name) if row is None else row[0]
            there = set(_tracklets_of(db, [target], confirmed=True))
            _forget_differences(db, keys, [*keys, *_tracklets_of(db, [target])])
            changed = _confirm(db, [key for key in keys if key not in there], target, said)
        remove_empty(db)
        for each in left:
            if each.name is not None and _tracklets_of(db, [each.id]):
                _anchor(db, each.id, said)
    return changed


def common_name(gallery: GalleryStore, tracklets: Sequence[TrackletId]) -> str:
    """The first name among these tracklets, or a new one such as ``person 7``.

    Raises:
        NotFoundError: an unknown tracklet.
    """
    known = {person.id: person.name for person in people(gallery)}
    for number in (gallery.tracklet(id).person_id for id in tracklets):
        if number is not None and (name := known.get(number)):
            return name
    return next(n for n in map("person {}".format, count(1)) if n not in known.values())


@contextmanager
def _statement(
    gallery: GalleryStore, action: str, detail: dict[str, Any], actor: str | None
) -> Iterator[tuple[Any, _Said]]:
    """A transaction and who says it when; the audit entry, and what undoes it, are part of it."""
    said = audit.who_and_when(actor)
    with gallery.writing() as db:
        with changes.recorded(db) as rows:
            yield db, said
        count_change(db)
        changes.keep(db, audit.insert(db, action, detail, *said), rows)


def _check_new_name(name: str) -> None:
    check_name("person", name)
    if name.isdecimal():
        raise InputError(f"person name {name!r} is not allowed: digits alone are a person's number")


def _new_person(db: Any, name: str | None = None) -> int:
    return int(db.execute("INSERT INTO people (name) VALUES (?)", (name,)).lastrowid)


def _set_name(db: Any, number: int, name: str | None) -> None:
    owner = db.execute("SELECT id FROM people WHERE name = ?", (name,)).fetchone()
    if owner is not None and owner[0] != number:
        raise InputError(
            f"person {owner[0]} has the name {name!r} already: reid-dhm people merge {owner[0]} "
            f"{number} makes them one"
        )
    db.execute("UPDATE people SET name = ? WHERE id = ?", (name, number))


def _people_of(db: Any, keys: Sequence[int]) -> list[Person]:
    """The people whom any of these tracklets belong to, by number."""
    sql = f"SELECT person FROM members WHERE tracklet {_ANY}"
    return _people(db, f"WHERE p.id IN ({sql})", json.dumps(keys))


def _people_numbered(db: Any, gallery: GalleryStore, numbers: Sequence[int]) -> list[Person]:
    found = {p.id: p for p in _people(db, f"WHERE p.id {_ANY}", json.dumps(numbers))}
    if gone := [number for number in numbers if number not in found]:
        raise InputError(f"{gallery.folder} has no person {gone[0]} any more: see people list")
    return [found[number] for number in numbers]


def _people(db: Any, condition: str, value: str) -> list[Person]:
    sql = f"{PEOPLE} {condition} GROUP BY p.id ORDER BY p.id"
    return [person(row) for row in db.execute(sql, (value,)).fetchall()]


def _most_known(people: Sequence[Person]) -> int:
    """Number of the person with a name, or else with the most tracklets."""
    return max(people, key=lambda p: (p.name is not None, p.num_tracklets, -p.id)).id


def _tracklets_of(db: Any, people: Sequence[int], confirmed: bool = False) -> list[int]:
    sql = f"SELECT tracklet FROM members WHERE person {_ANY}"
    if confirmed:
        sql += " AND confirmed_by IS NOT NULL"
    return [_key(row) for row in db.execute(sql, (json.dumps(people),)).fetchall()]


@checked(int)
def _key(row: Sequence[Any]) -> int:
    return int(row[0])


def _join(db: Any, people: Sequence[int], target: int) -> None:
    db.execute(f"UPDATE members SET person = ? WHERE person {_ANY}", (target, json.dumps(people)))


def _confirm(db: Any, keys: Sequence[int], target: int, said: _Said) -> int:
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


def _anchor(db: Any, number: int, said: _Said) -> None:
    """Confirm the longest tracklet of a person of whom none is confirmed, so that it lasts."""
    db.execute(
        "UPDATE members SET confirmed_by = ?2, confirmed_at = ?3 WHERE tracklet = (SELECT "
        "m.tracklet FROM members m JOIN tracklets t ON t.key = m.tracklet WHERE m.person = ?1 "
        "ORDER BY t.num_boxes DESC, t.key LIMIT 1) AND NOT EXISTS "
        "(SELECT 1 FROM members WHERE person = ?1 AND confirmed_by IS NOT NULL)",
        (number, *said),
    )


def _forget_differences(db: Any, keys: Sequence[int], others: Sequence[int]) -> None:
    """Withdraw what was said to be different between two sets of tracklets."""
    one, other = json.dumps(keys), json.dumps(others)
    for first, second in ((one, other), (other, one)):
        sql = f"DELETE FROM different WHERE first {_ANY} AND second {_ANY}"
        db.execute(sql, (first, second))


def _refuse_differences(
    db: Any, gallery: GalleryStore, keys: Sequence[int], people: Sequence[Person]
) -> None:
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
