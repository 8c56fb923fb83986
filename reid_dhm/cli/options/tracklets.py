"""Options that select tracklets of a gallery, and tracklets as rows of a table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reid_dhm.cli.output import count_of, say

if TYPE_CHECKING:
    from reid_dhm.gallery.records import Tracklet, TrackletFilter
    from reid_dhm.gallery.store.reader import GalleryReader

GalleryOption = Annotated[
    Path, typer.Option("--gallery", metavar="DIR", help="Folder of the gallery.")
]
CameraOption = Annotated[
    list[str] | None,
    typer.Option("--camera", metavar="NAME", help="Seen by this camera; repeatable."),
]
VideoOption = Annotated[
    list[str] | None, typer.Option("--video", metavar="HASH", help="In this video; repeatable.")
]
TrackletOption = Annotated[
    list[str] | None, typer.Option("--tracklet", metavar="ID", help="This tracklet; repeatable.")
]
PersonOption = Annotated[
    str | None, typer.Option("--person", metavar="NAME", help="Labelled with this name.")
]
AfterOption = Annotated[
    str | None,
    typer.Option(
        "--after",
        metavar="WHEN",
        help="Seen at this time or later: an ISO 8601 time, or seconds from each video's start.",
    ),
]
BeforeOption = Annotated[
    str | None, typer.Option("--before", metavar="WHEN", help="Seen at this time or earlier.")
]


def warn_of_untimed(store: GalleryReader, where: TrackletFilter) -> None:
    """Report how many videos a wall-clock condition excludes: they have no start time."""
    from reid_dhm.gallery.store.filters import untimed

    left_out, count = untimed(where, store.videos())
    if left_out:
        say(
            f"left out, as they have no wall-clock time: {left_out} of {count_of(count, 'video')}; "
            "give seconds for them, or no time",
            err=True,
        )


def tracklet_row(tracklet: Tracklet) -> dict[str, Any]:
    """A tracklet as a row of a table."""
    begin, end = tracklet.start_time, tracklet.end_time
    return {
        "tracklet": str(tracklet.id),
        "camera": tracklet.camera,
        "start": begin.isoformat(timespec="seconds") if begin else f"{tracklet.start:.1f}",
        "end": end.isoformat(timespec="seconds") if end else f"{tracklet.end:.1f}",
        "boxes": tracklet.num_boxes,
        "person": tracklet.person or "",
    }
