"""Filters over tracklets: read from a user's words, translated to SQL, described for the log."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from reid_dhm.errors import InputError
from reid_dhm.gallery.records import TrackletFilter, TrackletId, Video, wall_clock

_MAX_SECONDS = 1e7  # four months of video; 20260301 is a date

_IS_ANY_OF = """t.key IN (SELECT w.key FROM json_each(?) j
    JOIN videos u ON u.hash = json_extract(j.value, '$[0]')
    JOIN tracklets w ON w.video = u.id AND w.track = json_extract(j.value, '$[1]'))"""

_IS_OF_PERSON = """t.key IN (SELECT m.tracklet FROM members m WHERE m.person = coalesce(
    (SELECT id FROM people WHERE name = ?), ?))"""


def parse_filter(
    tracklets: Iterable[str] | None = None,
    cameras: Sequence[str] | None = None,
    videos: Sequence[str] | None = None,
    person: str | None = None,
    after: str | None = None,
    before: str | None = None,
) -> TrackletFilter:
    """A filter from words; ``after`` and ``before`` as for :func:`parse_time`.

    Raises:
        InputError: not a tracklet id, or not a time.
    """
    return TrackletFilter(
        tuple(TrackletId.parse(text) for text in tracklets or ()),
        tuple(videos or ()),
        tuple(cameras or ()),
        person,
        parse_time(after),
        parse_time(before),
    )


def parse_time(text: str | None) -> float | datetime | None:
    """Seconds from a video's start, or an ISO 8601 time.

    Raises:
        InputError: anything else.
    """
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        return wall_clock(text)
    if not abs(seconds) < _MAX_SECONDS:
        raise InputError(
            f"{text[:60]!r} is not a number of seconds from a video's start: give one below "
            f"{_MAX_SECONDS:.0f}, or an ISO 8601 time such as 2026-03-01T08:30:00+01:00"
        )
    return seconds


def describe(where: TrackletFilter) -> dict[str, Any]:
    """The conditions that are given, for the audit log."""
    words = {name: value for name, value in asdict(where).items() if value not in (None, (), [])}
    for name in ("tracklets", "exclude"):
        if name in words:
            words[name] = [str(id) for id in getattr(where, name)]
    return words


def untimed(where: TrackletFilter, videos: Sequence[Video]) -> tuple[int, int]:
    """Number of videos that a wall-clock bound excludes for having no start time, and of all.

    Args:
        where: only videos of its cameras and videos count; without a wall-clock bound none do.
        videos: all of the gallery.
    """
    if not any(isinstance(bound, datetime) for bound in (where.after, where.before)):
        return 0, 0
    meant = [
        video
        for video in videos
        if (not where.cameras or video.camera in where.cameras)
        and (not where.videos or video.hash in where.videos)
    ]
    return sum(video.start_time is None for video in meant), len(meant)


def condition(where: TrackletFilter) -> tuple[str, list[Any]]:
    """A WHERE clause over tracklets ``t`` and their videos ``v``, and its values."""
    parts: list[str] = ["true"]
    values: list[Any] = []
    for ids, negation in ((where.tracklets, ""), (where.exclude, "NOT ")):
        if ids:
            parts.append(negation + _IS_ANY_OF)
            values.append(json.dumps([[video, track] for video, track in ids]))
    if where.videos:
        parts.append("v.hash IN (SELECT value FROM json_each(?))")
        values.append(json.dumps(list(where.videos)))
    if where.cameras:
        parts.append(
            "v.camera IN (SELECT c.id FROM cameras c JOIN json_each(?) j ON c.name = j.value)"
        )
        values.append(json.dumps(list(where.cameras)))
    if where.person is not None:
        parts.append(_IS_OF_PERSON)
        number = where.person
        values += (
            [None, number] if isinstance(number, int) else [as_utf8(number), person_number(number)]
        )
    for bound, column, sign in ((where.after, '"end"', ">="), (where.before, "start", "<=")):
        if isinstance(bound, datetime):
            parts.append(f"v.start_time + t.{column} {sign} ?")
            values.append(bound.timestamp())
        elif bound is not None:
            parts.append(f"t.{column} {sign} ?")
            values.append(float(bound))
    return " WHERE " + " AND ".join(parts), values


def person_number(text: str) -> int:
    """The number of a person from a user's words; 0, which nobody has, for anything else."""
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else 0


def as_utf8(text: str) -> str:
    """Text that SQLite accepts; a name that is not UTF-8 becomes one that matches nothing."""
    return text.encode("utf-8", "replace").decode()
