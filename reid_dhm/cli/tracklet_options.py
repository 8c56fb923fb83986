"""Options that say which tracklets of a gallery are meant, and how tracklets are printed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reid_dhm.errors import InputError

if TYPE_CHECKING:
    from reid_dhm.gallery.records import Tracklet, TrackletFilter
    from reid_dhm.gallery.store.gallery import GalleryStore

_LONGEST = 1e7  # seconds of a video: four months; 20260301 is meant for a date

GalleryOption = Annotated[Path, typer.Option("--gallery", metavar="DIR", help="Which gallery.")]
CameraOption = Annotated[
    list[str] | None, typer.Option("--camera", metavar="NAME", help="Seen by it; repeatable.")
]
VideoOption = Annotated[
    list[str] | None, typer.Option("--video", metavar="HASH", help="In it; repeatable.")
]
TrackletOption = Annotated[
    list[str] | None, typer.Option("--tracklet", metavar="ID", help="This one; repeatable.")
]
PersonOption = Annotated[str | None, typer.Option("--person", metavar="NAME", help="Of this name.")]
AfterOption = Annotated[
    str | None,
    typer.Option(
        "--after",
        metavar="WHEN",
        help="Seen then or later: an ISO 8601 time, or seconds from each video's start.",
    ),
]
BeforeOption = Annotated[
    str | None, typer.Option("--before", metavar="WHEN", help="Seen then or earlier.")
]


def parse_filter(
    tracklets: Iterable[str] | None = None,
    cameras: Sequence[str] | None = None,
    videos: Sequence[str] | None = None,
    person: str | None = None,
    after: str | None = None,
    before: str | None = None,
) -> TrackletFilter:
    """What the options mean together.

    Raises:
        InputError: a tracklet that is no id, or a moment that is no time.
    """
    from reid_dhm.gallery.records import TrackletFilter, TrackletId

    return TrackletFilter(
        tuple(TrackletId.parse(text) for text in tracklets or ()),
        tuple(videos or ()),
        tuple(cameras or ()),
        person,
        moment(after),
        moment(before),
    )


def moment(text: str | None) -> float | datetime | None:
    """Seconds, or an ISO 8601 time; raises :class:`InputError` for anything else."""
    from reid_dhm.gallery.records import wall_clock

    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        return wall_clock(text)
    if not abs(seconds) < _LONGEST:
        raise InputError(
            f"{text!r} is no number of seconds from a video's start: give one, or an ISO 8601 time "
            "such as 2026-03-01T08:30:00+01:00"
        )
    return seconds


def warn_of_untimed(store: GalleryStore, where: TrackletFilter) -> None:
    """Say how many videos a wall-clock condition leaves out because nobody said when they began."""
    if not any(isinstance(bound, datetime) for bound in (where.after, where.before)):
        return
    meant = [
        video
        for video in store.videos()
        if (not where.cameras or video.camera in where.cameras)
        and (not where.videos or video.hash in where.videos)
    ]
    if untimed := sum(video.start_time is None for video in meant):
        typer.echo(
            f"left out, as they have no wall-clock time: {untimed} of {len(meant)} videos; "
            "give seconds for them, or no time",
            err=True,
        )


def as_words(where: TrackletFilter) -> dict[str, Any]:
    """The conditions that there are, for the audit log."""
    words = {name: value for name, value in asdict(where).items() if value not in (None, (), [])}
    if where.tracklets:
        words["tracklets"] = [str(id) for id in where.tracklets]
    return words


def brief(tracklet: Tracklet) -> dict[str, Any]:
    """A tracklet in one line."""
    begin, end = tracklet.start_time, tracklet.end_time
    return {
        "tracklet": str(tracklet.id),
        "camera": tracklet.camera,
        "start": begin.isoformat(timespec="seconds") if begin else f"{tracklet.start:.1f}",
        "end": end.isoformat(timespec="seconds") if end else f"{tracklet.end:.1f}",
        "boxes": tracklet.num_boxes,
        "person": tracklet.person or "",
    }


def print_table(rows: Sequence[Mapping[str, Any]], nothing: str) -> None:
    """Rows under the names of their columns, unbroken; a sentence where there are none."""
    from rich.console import Console
    from rich.table import Table

    if not rows:
        typer.echo(nothing)
        return
    table = Table(*rows[0], box=None)
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    console = Console()
    width = Console(width=10_000).measure(table).maximum
    Console(width=max(width, console.width)).print(table)
