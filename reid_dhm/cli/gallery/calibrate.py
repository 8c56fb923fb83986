"""``reid-dhm gallery calibrate``: what a similarity means in one gallery, found without labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reid_dhm.cli.options import JsonOption, write_json
from reid_dhm.cli.options.tracklets import GalleryOption
from reid_dhm.cli.output import command_line, count_of, say, suggest


def calibrate(
    folder: GalleryOption,
    figure: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.svg", help="Draw how well stated probabilities agree with counted ones."
        ),
    ] = None,
    json: JsonOption = None,
) -> None:
    """Find from when two tracklets are likely one person, for searches and for people.

    The gallery itself shows it: people seen at once are two people, and what all pairs have beyond
    such pairs is one person's. A deletion removes what was found, because it rests on everybody.

    Example: reid-dhm gallery calibrate --gallery galleries/site --figure reliability.svg
    """
    from reid_dhm.cli.output.tables import print_rows
    from reid_dhm.files import write_text
    from reid_dhm.gallery.people.thresholds.reliability import FEWEST, draw_reliability, reliability
    from reid_dhm.gallery.people.thresholds.stored import calibrate_gallery, camera_rows
    from reid_dhm.gallery.store.gallery import GalleryStore

    if figure is not None and figure.suffix != ".svg":
        raise typer.BadParameter(f"{figure} is not an .svg file: give one", param_hint="--figure")
    with GalleryStore(folder) as store:
        found = calibrate_gallery(store)
        rows = camera_rows(found, {camera.id: camera.name for camera in store.cameras()})
    say(f"{count_of(found.negatives, 'pair')} of people seen at once")
    if not rows:
        say(
            f"no match probabilities: {FEWEST} such pairs are needed, and pairs that are more "
            "similar than theirs"
        )
    else:
        print_rows(
            [
                {
                    "cameras": " and ".join(row["cameras"]),
                    "50% at": f"{row['even']:.3f}",
                    "90% at": f"{row['sure']:.3f}",
                    "seen at once": row["negatives"] or "of all cameras",
                    "other pairs": row["unlabelled"],
                }
                for row in rows
            ],
            "",
        )
    points = reliability(found)
    if figure is not None:
        if points:
            write_text(figure, draw_reliability(points).file)
            say(f"figure: {figure}")
        else:
            say(f"nothing to draw, so {figure} was not written", err=True)
    if json is not None:
        write_json(
            json,
            {"negatives": found.negatives, "cameras": rows, "reliability": [
                point._asdict() for point in points
            ]},
        )  # fmt: skip
    suggest(command_line("people link", {"--gallery": folder}))
