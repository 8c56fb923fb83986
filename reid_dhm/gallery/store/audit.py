"""The audit log, kept in the gallery: who searched for, exported, changed or deleted what."""

from __future__ import annotations

import getpass
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from reid_dhm.gallery.store.database import translated_errors
from reid_dhm.gallery.store.filters import as_utf8
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.store.queries import ADD_AUDIT, checked
from reid_dhm.gallery.store.reader import GalleryReader

COLUMNS = "time, actor, action, detail"


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry.

    Attributes:
        id: ascending.
        time: UTC.
        actor: the user of the process, or the client whom a service names.
        action: ``index``, ``search``, ``merge``, ``export``, ``delete`` …
        detail: of the action.
    """

    id: int
    time: datetime
    actor: str
    action: str
    detail: dict[str, Any]


def record(
    gallery: GalleryReader, action: str, detail: Mapping[str, Any], actor: str | None = None
) -> None:
    """Add an entry.

    Args:
        gallery: to whose log.
        action: what was done.
        detail: stored as JSON; values that JSON does not have are stored as text.
        actor: who did it; the user of this process by default.
    """
    who, when = who_and_when(actor)
    gallery.add_audit_row(when, who, action, _as_json(detail))


def who_and_when(actor: str | None = None) -> tuple[str, str]:
    """Name of the actor, the user of this process by default, and the time now in ISO 8601."""
    return as_utf8(actor or _user()), datetime.now(timezone.utc).isoformat()


def insert(db: Any, action: str, detail: Mapping[str, Any], actor: str, time: str) -> int:
    """Add an entry within a transaction and return its number; arguments as of :func:`record`."""
    return int(db.execute(ADD_AUDIT, (time, actor, action, _as_json(detail))).lastrowid)


def entries(gallery: GalleryStore, after: int = 0, limit: int = 1000) -> list[Entry]:
    """The next entries after the one numbered ``after``, oldest first."""
    sql = f"SELECT id, {COLUMNS} FROM audit WHERE id > ? ORDER BY id LIMIT ?"
    with gallery.reading() as db:
        return [entry(row) for row in db.execute(sql, (after, limit)).fetchall()]


def latest(
    gallery: GalleryReader,
    limit: int = 1000,
    after: datetime | None = None,
    before: datetime | None = None,
) -> list[Entry]:
    """The newest entries, newest first.

    Args:
        gallery: whose log.
        limit: most entries to return.
        after, before: only entries of this span, both ends included.
    """
    bounds = [
        None if t is None else t.astimezone(timezone.utc).isoformat() for t in (after, before)
    ]
    with translated_errors(gallery.path):
        return [entry(row) for row in gallery.audit_rows(limit, *bounds)]


@checked(int, str, str, str, str)
def entry(row: Sequence[Any]) -> Entry:
    """An id and :data:`COLUMNS`."""
    id, time, actor, action, detail = row
    content = json.loads(detail)
    if not isinstance(content, dict):
        raise ValueError("the detail of an audit entry that is not a JSON object")
    return Entry(id, datetime.fromisoformat(time), actor, action, content)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # the user of a container may have no name
        return "unknown"


def _as_json(detail: Mapping[str, Any]) -> str:
    return json.dumps(dict(detail), default=str)
