"""``reid-dhm gallery copy``: between a folder and storage that several machines share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reid_dhm.cli.options.tracklets import (
    AfterOption,
    BeforeOption,
    CameraOption,
    PersonOption,
    VideoOption,
)
from reid_dhm.cli.output import command_line, count_of, say, suggest


def copy(
    source: Annotated[Path, typer.Argument(metavar="FROM", help="The gallery to copy.")],
    target: Annotated[
        Path, typer.Argument(metavar="TO", help="Made if it does not exist; of the same model.")
    ],
    camera: CameraOption = None,
    video: VideoOption = None,
    person: PersonOption = None,
    after: AfterOption = None,
    before: BeforeOption = None,
) -> None:
    """Copy videos, tracklets, images and people between a folder and shared storage.

    One of FROM and TO is a folder, the other s3://BUCKET/PREFIX or lance:FOLDER. What is there
    already is left alone: run it again to continue an interrupted copy, or to add what is new. A
    folder gets all that it lacks, also tracklets that were deleted only there.

    Example: reid-dhm gallery copy galleries/site s3://footage/site
    """
    from reid_dhm.cli.output.progress import progress_bar
    from reid_dhm.gallery.opening import copy_gallery, open_gallery
    from reid_dhm.gallery.store.filters import parse_filter

    where = parse_filter((), camera, video, person, after, before)
    with open_gallery(source) as opened, open_gallery(target, create=True) as into:
        with progress_bar("Copying") as bar:
            done = copy_gallery(opened, into, where or None, bar)
        for name in done.unfinished:
            say(f"left out, as it is not indexed to its end: {name}", err=True)
        for name in done.partial:
            say(f"{source} holds only a part of it: {name}", err=True)
        known = f", {done.known} there already or without a match" if done.known else ""
        say(
            f"{count_of(done.videos, 'video')} with {count_of(done.tracklets, 'tracklet')} "
            f"copied{known}: {into.folder}"
        )
    suggest(command_line("gallery list cameras", {"--gallery": target}), "what is there now")
