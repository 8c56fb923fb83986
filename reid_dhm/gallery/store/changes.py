"""Taking back what users said: which rows each statement changed, and how they were before.

A statement can be undone, in any order, while the rows that it changed are as it left them. What is
kept for that goes when anything is deleted, because it may name whoever was deleted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from reid_dhm.errors import InputError, NotFoundError
from reid_dhm.gallery.store import audit
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.store.membership import anchor_known, count_change, remove_empty
from reid_dhm.gallery.store.queries import checked

_KEPT = 200  # statements that can be undone

# The tables that statements write, with the columns of their keys, then the others.
_TABLES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "people": (("id",), ("name", "hidden")),
    "members": (("tracklet",), ("person", "confirmed_by", "confirmed_at")),
    "different": (("first", "second"), ("said_by", "said_at")),
    "watched": (("person",), ("said_by", "said_at", "after")),
}
_TYPES = {
    "people": (int, str | None, int),
    "members": (int, int, str | None, str | None),
    "different": (int, int, str, str),
    "watched": (int, str, str, int),
}
_TORN = """SELECT 1 FROM different d JOIN members a ON a.tracklet = d.first
    JOIN members b ON b.tracklet = d.second WHERE a.person = b.person"""
# Announcements of restored tracklets, whatever person they were carried to.
_FOLLOW = """UPDATE announcements SET person =
    (SELECT person FROM members m WHERE m.tracklet = announcements.tracklet)
    WHERE tracklet IN (SELECT value FROM json_each(?))"""

_Row = list[Any]


@dataclass(frozen=True, slots=True)
class Change:
    """A statement that can be undone.

    Attributes:
        id: number of its entry in the audit log.
        action: ``link``, ``merge``, ``split``, ``name`` …
        actor: who said it.
        time: when (UTC).
    """

    id: int
    action: str
    actor: str
    time: datetime


@contextmanager
def recorded(db: Any) -> Iterator[list[tuple[str, _Row | None, _Row | None]]]:
    """Within a transaction, the rows that a statement changes: table, before and after.

    The list is filled when the block ends. Triggers see every change, also of a statement that is
    written later (https://www.sqlite.org/undoredo.html).
    """
    rows: list[tuple[str, _Row | None, _Row | None]] = []
    db.execute("CREATE TEMP TABLE touched (place TEXT PRIMARY KEY, name TEXT, key TEXT, old TEXT)")
    for name in _TABLES:
        for event in ("INSERT", "UPDATE", "DELETE"):
            db.execute(_trigger(name, event))
    yield rows
    for name, key, old in db.execute("SELECT name, key, old FROM temp.touched").fetchall():
        before, after = json.loads(old) if old else None, _row(db, name, json.loads(key))
        if before != after:
            rows.append((name, before, after))
    for name in _TABLES:
        for event in ("INSERT", "UPDATE", "DELETE"):
            db.execute(f"DROP TRIGGER temp.touch_{name}_{event}")
    db.execute("DROP TABLE temp.touched")


def keep(db: Any, entry: int, rows: Sequence[tuple[str, _Row | None, _Row | None]]) -> None:
    """Keep what a statement changed, by its entry in the audit log; within its transaction."""
    db.execute("INSERT INTO changes VALUES (?, ?)", (entry, json.dumps(rows)))
    old = "SELECT entry FROM changes ORDER BY entry DESC LIMIT 1 OFFSET ?"
    db.execute(f"DELETE FROM changes WHERE entry <= ({old})", (_KEPT,))


def latest(gallery: GalleryStore, actor: str | None = None, limit: int = 20) -> list[Change]:
    """The newest statements that can be undone, newest first.

    Args:
        gallery: which.
        actor: only those of this actor.
        limit: most to return.
    """
    sql = """SELECT a.id, a.time, a.actor, a.action, a.detail FROM changes c JOIN audit a
        ON a.id = c.entry WHERE a.actor = coalesce(?, a.actor) ORDER BY a.id DESC LIMIT ?"""
    with gallery.reading() as db:
        found = [audit.entry(row) for row in db.execute(sql, (actor, limit)).fetchall()]
    return [Change(each.id, each.action, each.actor, each.time) for each in found]


def undo(gallery: GalleryStore, change: int, actor: str | None = None) -> int:
    """Take a statement back, and record that; taking that back says it again.

    Args:
        gallery: which.
        change: number of the statement's entry in the audit log.
        actor: who takes it back; the user of this process by default.

    Returns:
        Number of this change.

    Raises:
        NotFoundError: no such statement, or one too old to be undone.
        InputError: what it changed has been changed since, or would contradict what was said since.
    """
    said = audit.who_and_when(actor)
    with gallery.writing() as db:
        found = db.execute("SELECT rows FROM changes WHERE entry = ?", (change,)).fetchone()
        if found is None:
            raise NotFoundError(
                f"{gallery.folder} has no change {change} that can be undone: only the last "
                f"{_KEPT} since the last deletion can"
            )
        with recorded(db) as rows:
            _restore(db, change, changed_rows(found))
            anchor_known(db, said)
        db.execute("DELETE FROM changes WHERE entry = ?", (change,))
        count_change(db)
        entry = audit.insert(db, "undo", {"change": change}, *said)
        keep(db, entry, rows)
    return entry


def _restore(db: Any, change: int, rows: Sequence[tuple[str, _Row | None, _Row | None]]) -> None:
    """Write all rows as they were before; people first, as others refer to them.

    Who is watched stays as it is if that was changed since.
    """
    as_left = dict.fromkeys(_TABLES, True)
    for name, before, after in rows:
        key = (before or after or [])[: len(_TABLES[name][0])]
        as_left[name] &= _row(db, name, key) == after
        if name != "watched" and not as_left[name]:
            raise InputError(
                f"change {change} cannot be undone: what it changed was changed again; undo that "
                "first"
            )
    _refuse_replaced(db, change, rows)
    people = [(before, after) for name, before, after in rows if name == "people"]
    for before, after in people:
        number, hidden = (before or after or [])[0], before[2] if before else 0
        sql = "UPDATE people SET name = NULL, hidden = ? WHERE id = ?"
        if db.execute(sql, (hidden, number)).rowcount == 0:
            db.execute("INSERT INTO people (id, hidden) VALUES (?, ?)", (number, hidden))
    for table in [name for name in _TABLES if name != "people" and as_left[name]]:
        keys, others = _TABLES[table]
        condition = " AND ".join(f'"{column}" = ?' for column in keys)
        marks = ", ".join("?" * len(keys + others))
        for before, after in ((b, a) for name, b, a in rows if name == table):
            key = (before or after or [])[: len(keys)]
            db.execute(f"DELETE FROM {table} WHERE {condition}", key)
            if before is not None:
                db.execute(f"INSERT INTO {table} VALUES ({marks})", before)
    restored = [before[0] for name, before, _ in rows if name == "members" and before]
    db.execute(_FOLLOW, (json.dumps(restored),))
    remove_empty(db)
    for before, _ in people:
        if before and before[1] is not None:
            if db.execute("SELECT 1 FROM people WHERE name = ?", (before[1],)).fetchone():
                raise InputError(
                    f"change {change} cannot be undone: another person has the name "
                    f"{before[1]!r} by now; undo that first"
                )
            db.execute("UPDATE people SET name = ? WHERE id = ?", (before[1], before[0]))
    if db.execute(_TORN).fetchone():
        raise InputError(
            f"change {change} cannot be undone: tracklets that it tells apart were found to be one "
            "person since; split them, or find the people anew after splitting"
        )


def _refuse_replaced(
    db: Any, change: int, rows: Sequence[tuple[str, _Row | None, _Row | None]]
) -> None:
    """Raise InputError unless all tracklets that these rows were about are still there."""
    pairs = {"members": 1, "different": 2}
    keys = {key for name, before, _ in rows for key in (before or [])[: pairs.get(name, 0)]}
    sql = "SELECT count(*) FROM tracklets WHERE key IN (SELECT value FROM json_each(?))"
    if db.execute(sql, (json.dumps(sorted(keys)),)).fetchone()[0] < len(keys):
        raise InputError(
            f"change {change} cannot be undone: tracklets that it was about were replaced since "
            "by longer ones; say it of those"
        )


def _row(db: Any, name: str, key: Sequence[int]) -> _Row | None:
    keys, others = _TABLES[name]
    condition = " AND ".join(f'"{column}" = ?' for column in keys)
    columns = ", ".join(f'"{column}"' for column in keys + others)
    found = db.execute(f"SELECT {columns} FROM {name} WHERE {condition}", list(key)).fetchone()
    return None if found is None else list(found)


def _trigger(name: str, event: str) -> str:
    keys, others = _TABLES[name]
    side = "NEW" if event == "INSERT" else "OLD"
    key = f"json_array({', '.join(f'{side}.{column}' for column in keys)})"
    old = f"json_array({', '.join(f'OLD.{column}' for column in keys + others)})"
    # Not INSERT OR IGNORE: within a trigger, the clause of the outer statement would count.
    return (
        f"CREATE TEMP TRIGGER touch_{name}_{event} "
        f"{'AFTER' if event == 'INSERT' else 'BEFORE'} {event} ON main.{name} BEGIN "
        f"INSERT INTO touched SELECT '{name}' || {key}, '{name}', {key}, "
        f"{'NULL' if event == 'INSERT' else old} "
        f"WHERE NOT EXISTS (SELECT 1 FROM touched WHERE place = '{name}' || {key}); END"
    )


@checked(str)
def changed_rows(row: Sequence[Any]) -> list[tuple[str, _Row | None, _Row | None]]:
    """The rows of a change from its JSON."""
    rows = json.loads(row[0])
    if not isinstance(rows, list):
        raise ValueError("a change that is not a list of rows")
    for each in rows:
        name, before, after = each
        for side in (before, after):
            if side is not None:
                kinds = zip(side, _TYPES[name], strict=True)
                if not all(isinstance(value, kind) for value, kind in kinds):
                    raise ValueError(f"a change of {name} to other types")
        if before is None and after is None:
            raise ValueError("a change of no row")
    return [(name, before, after) for name, before, after in rows]
