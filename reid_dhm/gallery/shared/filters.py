"""Filters over tracklets as conditions that Lance pushes down to its indexes and files."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from reid_dhm.gallery.records import TrackletFilter


def condition(where: TrackletFilter | None, after: int = 0) -> str | None:
    """A condition in SQL; None without any.

    Args:
        where: the filter; a ``person`` that is a text is a name here.
        after: only tracklets with a higher key.
    """
    where = TrackletFilter() if where is None else where
    parts = [f"key > {after}"] if after else []
    if where.tracklets:
        parts.append(f"id IN {texts(map(str, where.tracklets))}")
    if where.exclude:
        parts.append(f"id NOT IN {texts(map(str, where.exclude))}")
    if where.videos:
        parts.append(f"video IN {texts(where.videos)}")
    if where.cameras:
        parts.append(f"camera IN {texts(where.cameras)}")
    if isinstance(where.person, int):
        parts.append(f"person_id = {where.person}")
    elif where.person is not None:
        parts.append(f"person = {text(where.person)}")
    for bound, column, sign in ((where.after, "ends", ">="), (where.before, "begins", "<=")):
        if isinstance(bound, datetime):
            parts.append(f"{column}_at {sign} {bound.timestamp()!r}")
        elif bound is not None:
            parts.append(f"{column} {sign} {float(bound)!r}")
    return " AND ".join(parts) or None


def text(value: str) -> str:
    """A text as a literal; one that is not UTF-8 becomes one that matches nothing."""
    clean = value.encode("utf-8", "replace").decode()
    return "'" + clean.replace("'", "''") + "'"


def texts(values: Iterable[str]) -> str:
    """Texts as a list of literals."""
    return "(" + ", ".join(map(text, values)) + ")"


def numbers(values: Iterable[int]) -> str:
    """Numbers as a list of literals."""
    return "(" + ", ".join(str(int(value)) for value in values) + ")"
