"""``reid-dhm benchmark tracking``: how well tracks follow the people of a clip."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from reid_dhm.cli.options import JsonOption, write_json
from reid_dhm.cli.output import say


def tracking(
    tracks: Annotated[
        Path,
        typer.Argument(metavar="TRACKS", help="As `gallery export --format mot` writes them."),
    ],
    truth: Annotated[
        Path, typer.Option(metavar="FILE", help="The true tracks, as MOTChallenge lines.")
    ],
    people: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Ids of one person, a line each: `coat: 3 11`."),
    ] = None,
    json: JsonOption = None,
) -> None:
    """Compare tracks with the true ones: IDF1, switches, MOTA, recall, precision and purity.

    The figures are those of the library motmetrics. Purity is the share of matched boxes that
    show their track's majority person.

    Example: reid-dhm benchmark tracking tracks.txt --truth gt.txt
    """
    from reid_dhm.benchmarks.footage.pairs import read_people
    from reid_dhm.benchmarks.footage.tracking import measure

    figures = measure(tracks, truth, None if people is None else read_people(people))
    for name, value in asdict(figures).items():
        say(f"{name:9} {value:.3f}" if isinstance(value, float) else f"{name:9} {value}")
    if json is not None:
        write_json(json, asdict(figures))
