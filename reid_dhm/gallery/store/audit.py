"""Who searched for what and deleted what, written into the gallery itself."""

from __future__ import annotations

import getpass
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from reid_dhm.gallery.store.gallery import GalleryStore


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that was done.

    Attributes:
        id: grows with every entry.
        time: when, UTC.
        actor: who: the user of the process, or whom a service names.
        action: ``index``, ``search``, ``merge``, ``export``, ``delete`` …
        detail: what exactly.
    """

    id: int
    time: datetime
    actor: str
    action: str
    detail: dict[str, Any]


def record(
    gallery: GalleryStore, action: str, detail: Mapping[str, Any], actor: str | None = None
) -> None:
    """Write down that something was done, by this process's user unless ``actor`` says who.

    ``detail`` is kept as JSON; what JSON does not know is kept as text.
    """
    now = datetime.now(timezone.utc).isoformat()
    with gallery.writing() as db:
        db.execute(
            "INSERT INTO audit (time, actor, action, detail) VALUES (?, ?, ?, ?)",
            (now, actor or _user(), action, json.dumps(dict(detail), default=str)),
        )


def entries(gallery: GalleryStore, after: int = 0, limit: int = 1000) -> list[Entry]:
    """The next entries behind the one numbered ``after``, oldest first."""
    sql = "SELECT id, time, actor, action, detail FROM audit WHERE id > ? ORDER BY id LIMIT ?"
    return _read(gallery, sql, after, limit)


def latest(
    gallery: GalleryStore,
    limit: int = 1000,
    after: datetime | None = None,
    before: datetime | None = None,
) -> list[Entry]:
    """The newest entries, newest first.

    Args:
        gallery: whose.
        limit: how many at most.
        after, before: of this span of time, both ends included.
    """
    # Times are ISO 8601 in UTC, so their order is that of their letters.
    bounds = [
        None if t is None else t.astimezone(timezone.utc).isoformat() for t in (after, before)
    ]
    sql = (
        "SELECT id, time, actor, action, detail FROM audit "
        "WHERE time >= coalesce(?, time) AND time <= coalesce(?, time) ORDER BY id DESC LIMIT ?"
    )
    return _read(gallery, sql, *bounds, limit)


def _read(gallery: GalleryStore, sql: str, *values: object) -> list[Entry]:
    with gallery.reading() as db:
        rows = db.execute(sql, values).fetchall()
    return [
        Entry(id, datetime.fromisoformat(time), actor, action, json.loads(detail))
        for id, time, actor, action, detail in rows
    ]


def deletion(
    gallery: GalleryStore,
    detail: Mapping[str, Any],
    delete: Callable[[], int],
    actor: str | None = None,
) -> int:
    """Delete, written down before and after: nothing goes without a trace of who wanted it.

    Args:
        gallery, detail, actor: as for :func:`record`.
        delete: does it, and returns how many tracklets went.
    """
    record(gallery, "delete", {**detail, "state": "asked"}, actor)
    count = delete()
    record(gallery, "delete", {**detail, "state": "done", "deleted": count}, actor)
    return count


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return "unknown"
