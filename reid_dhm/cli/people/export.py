"""``reid-dhm people export``: people and their tracklets as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from reid_dhm.cli.options import leave_stdout
from reid_dhm.cli.options.tracklets import (
    AfterOption,
    BeforeOption,
    CameraOption,
    GalleryOption,
    PersonOption,
    VideoOption,
    warn_of_untimed,
)
from reid_dhm.cli.output import count_of, say


def export(
    folder: GalleryOption,
    output: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            callback=leave_stdout,
            help=".csv, .json or .parquet; any name for mot.",
        ),
    ],
    format: Annotated[
        Literal["mot"] | None,
        typer.Option(help="mot: MOTChallenge lines of one video, with people's numbers as ids."),
    ] = None,
    camera: CameraOption = None,
    video: VideoOption = None,
    person: PersonOption = None,
    after: AfterOption = None,
    before: BeforeOption = None,
) -> None:
    """Write the tracklets of people, or the boxes of one video's people.

    Example: reid-dhm people export --gallery galleries/site --output people.csv

    Example: reid-dhm people export --gallery galleries/site --format mot
    --video 9f86d081884c7d65 --output people.txt
    """
    from reid_dhm.gallery.people.answers.export import export_people
    from reid_dhm.gallery.store.export import export_mot
    from reid_dhm.gallery.store.filters import parse_filter
    from reid_dhm.gallery.store.gallery import GalleryStore

    with GalleryStore(folder) as store:
        where = parse_filter((), camera, video, person, after, before)
        warn_of_untimed(store, where)
        if format == "mot":
            count = export_mot(store, output, where, lambda tracklet: tracklet.person_id)
            say(f"{count_of(count, 'box', 'boxes')}: {output}")
        else:
            count = export_people(store, output, where)
            say(f"{count_of(count, 'tracklet')}: {output}")
