"""Who searched for what and deleted what, written into the gallery itself."""

from __future__ import annotations

import getpass
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from reid_dhm.gallery.store import Gallery


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
    gallery: Gallery, action: str, detail: Mapping[str, Any], actor: str | None = None
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


def entries(gallery: Gallery, after: int = 0, limit: int = 1000) -> list[Entry]:
    """The next entries behind the one numbered ``after``, oldest first."""
    sql = "SELECT id, time, actor, action, detail FROM audit WHERE id > ? ORDER BY id LIMIT ?"
    with gallery.reading() as db:
        rows = db.execute(sql, (after, limit)).fetchall()
    return [
        Entry(id, datetime.fromisoformat(time), actor, action, json.loads(detail))
        for id, time, actor, action, detail in rows
    ]


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return "unknown"
