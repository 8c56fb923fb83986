"""Writing what users say about people: it is kept, whatever is found later.

Every statement is one transaction with its entry in the audit log, which holds numbers of people
and no names, so that deleting a person deletes the name. A confirmed tracklet stays with
its person; two tracklets said to be different stay apart; the latest statement about a pair counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any

from reid_dhm.errors import InputError
from reid_dhm.gallery.records import TrackletId, check_name
from reid_dhm.gallery.store import audit, changes
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.store.membership import (
    Said,
    anchor,
    anchor_known,
    count_change,
    remove_empty,
)
from reid_dhm.gallery.store.people import Person, people
from reid_dhm.gallery.store.statement_rows import (
    carry_watch,
    check_new_name,
    confirm,
    forget_differences,
    join,
    most_known,
    new_person,
    people_numbered,
    people_of,
    refuse_differences,
    set_apart,
    set_name,
    tracklets_of,
)


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
        joined = people_of(db, keys)
        names = [f"{p.id} ({p.name})" for p in joined if p.name is not None]
        if len(names) > 1:
            numbers = " ".join(str(p.id) for p in joined if p.name is not None)
            raise InputError(
                f"they belong to people of different names, {' and '.join(names)}: reid-dhm people "
                f"merge {numbers} --name NAME joins these"
            )
        forget_differences(db, keys, keys)
        together = sorted({*keys, *tracklets_of(db, [p.id for p in joined])})
        refuse_differences(db, gallery, together, joined)
        target = most_known(joined) if joined else new_person(db)
        detail["person"] = target
        join(db, [p.id for p in joined], target)
        confirm(db, keys, target, said)
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
        check_new_name(name)
    detail = {"people": numbers}
    with _statement(gallery, "merge", detail, actor) as (db, said):
        found = people_numbered(db, gallery, numbers)
        names = [p.name for p in found if p.name is not None]
        if len(names) > 1 and name is None:
            quoted = " and ".join(map(repr, names))
            raise InputError(f"they have different names, {quoted}: give the person's --name")
        for each in found:
            anchor(db, each.id, said)
        everybody = tracklets_of(db, numbers)
        forget_differences(db, everybody, everybody)
        join(db, numbers, numbers[0])
        remove_empty(db)
        set_name(db, numbers[0], name or next(iter(names), None))
    return numbers[0]


def split(
    gallery: GalleryStore, source: Person, tracklets: Sequence[TrackletId], actor: str | None = None
) -> int:
    """Record that these tracklets are not this person; they become a new one.

    Those among them that users joined stay joined.

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
        now = people_numbered(db, gallery, [source.id])[0]
        found = [gallery.tracklet(id) for id in tracklets]
        keys = sorted({each.key for each in found})
        if others := [each.id for each in found if each.person_id != source.id]:
            raise InputError(
                f"{others[0]} does not belong to person {now.label}: see reid-dhm people show"
            )
        if not keys or len(keys) == now.num_tracklets:
            raise InputError(
                f"{'all' if keys else 'no'} tracklets of person {now.label}: name those of "
                "somebody else"
            )
        detail["new_person"] = target = set_apart(db, now, keys, said)
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
        check_new_name(new_name)
    detail = {"person": named.id, "named": new_name is not None}
    with _statement(gallery, "name", detail, actor) as (db, said):
        people_numbered(db, gallery, [named.id])
        anchor(db, named.id, said)
        set_name(db, named.id, new_name)


def hide(gallery: GalleryStore, person: Person, hidden: bool, actor: str | None = None) -> None:
    """Leave a person out of lists, or show the person again; nothing is deleted.

    Raises:
        InputError: the person is gone.
    """
    with _statement(gallery, "hide", {"person": person.id, "hidden": hidden}, actor) as (db, said):
        people_numbered(db, gallery, [person.id])
        anchor(db, person.id, said)
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
        people_numbered(db, gallery, [first.id, second.id])
        for each in (first, second):
            anchor(db, each.id, said)
        one, other = (tracklets_of(db, [p.id], confirmed=True) for p in (first, second))
        pair = sorted((min(one), min(other)))
        db.execute("INSERT OR IGNORE INTO different VALUES (?, ?, ?, ?)", (*pair, *said))


def label(
    gallery: GalleryStore,
    tracklets: Sequence[TrackletId],
    new_name: str | None,
    actor: str | None = None,
) -> int:
    """Confirm these tracklets, and no others, as the person of a name.

    None takes their names away: a person whose tracklets are all among them has no name then;
    otherwise they are split from the person.

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
        owners = people_of(db, keys)
        left = [p for p in owners if p.name not in (None, new_name)]
        if new_name is None:
            return sum(_unname(db, person, keys, said) for person in left)
        row = db.execute("SELECT id FROM people WHERE name = ?", (new_name,)).fetchone()
        if row is None:
            check_new_name(new_name)
        detail["person"] = target = new_person(db, new_name) if row is None else row[0]
        there = set(tracklets_of(db, [target], confirmed=True))
        forget_differences(db, keys, [*keys, *tracklets_of(db, [target])])
        changed = confirm(db, [key for key in keys if key not in there], target, said)
        empty = [p.id for p in owners if not tracklets_of(db, [p.id])]
        carry_watch(db, empty, target)
        remove_empty(db)
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


def _unname(db: Any, named: Person, keys: Sequence[int], said: Said) -> int:
    """Take the name of a person away from these tracklets; how many of the person's they are."""
    own = sorted({*keys} & {*tracklets_of(db, [named.id])})
    if len(own) == named.num_tracklets:
        set_name(db, named.id, None)
    else:
        set_apart(db, named, own, said)
    return len(own)


@contextmanager
def _statement(
    gallery: GalleryStore, action: str, detail: dict[str, Any], actor: str | None
) -> Iterator[tuple[Any, Said]]:
    """A transaction and who says it when; the audit entry, and what undoes it, are part of it."""
    said = audit.who_and_when(actor)
    with gallery.writing() as db:
        with changes.recorded(db) as rows:
            yield db, said
            anchor_known(db, said)
        count_change(db)
        changes.keep(db, audit.insert(db, action, detail, *said), rows)
