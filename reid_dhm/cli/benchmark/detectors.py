"""``reid-dhm benchmark detectors``: which one finds the people of a clip, and at which score."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from reid_dhm.cli.options import JsonOption, write_json


def detectors(
    video: Annotated[Path, typer.Option(metavar="FILE", help="The clip.")],
    truth: Annotated[Path, typer.Option(metavar="FILE", help="Its people, as MOTChallenge lines.")],
    names: Annotated[
        list[str], typer.Argument(metavar="DETECTOR...", help="As --detector takes them.")
    ],
    scores: Annotated[
        str, typer.Option(metavar="S,S,…", help="Lowest scores of a box to compare.")
    ] = "0.05,0.1,0.2,0.3,0.4,0.5,0.6,0.7",
    json: JsonOption = None,
) -> None:
    """Measure detectors on a clip: recall and precision at an IoU of 0.5, tracks, and speed.

    Example: reid-dhm benchmark detectors --video clip.mp4 --truth gt.txt yolox-nano other.onnx
    """
    from dataclasses import asdict

    from reid_dhm.benchmarks.footage.detection import LOWEST, detect_clip, figures_at
    from reid_dhm.benchmarks.footage.pairs import read_boxes
    from reid_dhm.cli.output import say
    from reid_dhm.cli.output.progress import progress_bar
    from reid_dhm.cli.output.tables import SafeTable, plain_console
    from reid_dhm.errors import InputError
    from reid_dhm.gallery.detect.factory import build_detector
    from reid_dhm.gallery.footage.sources import open_source
    from reid_dhm.inference.zoo.registry import record_speed

    try:
        wanted = [float(score) for score in scores.split(",")]
    except ValueError:
        wanted = []
    if not wanted or not all(LOWEST <= score < 1 for score in wanted):
        raise InputError(f"scores is {scores!r}: give numbers from {LOWEST} to below 1, as 0.1,0.5")
    boxes = read_boxes(truth)
    finders = [build_detector(name, LOWEST) for name in names]
    with progress_bar("Detecting") as bar:
        found = detect_clip(finders, open_source(str(video)), bar)
    table = SafeTable(
        "detector", "score", "recall", "precision", "F1", "IDF1", "switches", box=None
    )
    rows: list[dict[str, Any]] = []
    for name, one in zip(names, found, strict=True):
        shown = Path(name).stem
        for score in wanted:
            figures = figures_at(score, one, boxes)
            rows.append({"detector": shown, "f1": figures.f1, **asdict(figures)})
            shares = (figures.recall, figures.precision, figures.f1, figures.idf1)
            cells = (f"{score:g}", *(f"{share:.3f}" for share in shares), str(figures.switches))
            table.add_row(shown, *cells)
        rows[-1]["frames_per_second"] = one.rate
        record_speed(name, one.rate)
    plain_console().print(table)
    for name, one in zip(names, found, strict=True):
        ratio = one.rate / found[0].rate
        say(f"{Path(name).stem}: {one.rate:.0f} frames/s, {ratio:.2f} times the first")
    if json is not None:
        write_json(json, rows)
