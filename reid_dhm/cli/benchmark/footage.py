"""``reid-dhm benchmark footage-pairs``: how well embedders separate the people of a clip."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from reid_dhm.cli.options import (
    BackboneOption,
    InputOption,
    JsonOption,
    NeckOption,
    SizeOption,
    write_json,
)


def footage_pairs(
    video: Annotated[Path, typer.Option(metavar="FILE", help="The clip.")],
    tracklets: Annotated[
        Path, typer.Option(metavar="FILE", help="Its tracklets, as MOTChallenge lines.")
    ],
    truth: Annotated[Path, typer.Option(metavar="FILE", help="Its people, as MOTChallenge lines.")],
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL]...",
            help="Checkpoints, names of `reid-dhm models`, or default (the packaged model).",
        ),
    ] = None,
    people: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Ids of one person, a line each: `coat: 3 11`."),
    ] = None,
    precision: Annotated[str, typer.Option(help="Precision of the embedder.")] = "float32",
    figure: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a plot of the rate over speed, as .svg."),
    ] = None,
    json: JsonOption = None,
    backbone: BackboneOption = None,
    size: SizeOption = None,
    neck: NeckOption = None,
    input: InputOption = None,
) -> None:
    """Measure how well models separate the people of a clip: rank 1 and true-positive rate.

    Tracklets are given, so that every model is judged on the same boxes. --backbone, --size and
    --neck are for weights without a card.

    Example: reid-dhm benchmark footage-pairs --video clip.mp4 --tracklets t.txt --truth gt.txt
    """
    from reid_dhm.benchmarks.footage.pairs import FALSE_POSITIVE_RATE, measure
    from reid_dhm.cli.output.tables import print_rows
    from reid_dhm.gallery.people.comparison.model_comparison import images_per_second
    from reid_dhm.inference.embedder import Embedder
    from reid_dhm.inference.named import find_named
    from reid_dhm.inference.zoo.registry import record_speed

    if figure is not None and figure.suffix != ".svg":
        raise typer.BadParameter(f"--figure {figure} is no .svg: name such a file")
    rows: list[dict[str, Any]] = []
    for model in models or ["default"]:
        found = find_named(model, backbone, size, neck, input)
        embedder = Embedder(found, precision=precision)
        rates: list[float] = []

        def embed(images: Any, embedder: Embedder = embedder, rates: list[float] = rates) -> Any:
            embeddings = embedder(images)
            rates.append(images_per_second(embedder, images))
            return embeddings

        figures = measure(embed, video, tracklets, truth, people)
        record_speed(model, rates[0])
        rows.append(
            {
                "model": Path(model).stem,
                "rank1": figures.rank1,
                "tpr": figures.tpr,
                "tracklets": figures.tracklets,
                "people": figures.people,
                "images_per_second": rates[0],
            }
        )
    print_rows(
        [
            {
                "model": row["model"],
                "pairs at rank 1": f"{row['rank1']:.3f}",
                f"TPR at FPR {FALSE_POSITIVE_RATE:.0%}": f"{row['tpr']:.3f}",
                "images/s": f"{row['images_per_second']:.0f}",
            }
            for row in rows
        ],
        "",
    )
    typer.echo(f"{rows[0]['tracklets']} labelled tracklets of {rows[0]['people']} people")
    if figure is not None:
        _write_figure(figure, rows, f"true-positive rate at {FALSE_POSITIVE_RATE:.0%} FPR")
    if json is not None:
        write_json(json, rows)


def _write_figure(path: Path, rows: list[dict[str, Any]], accuracy: str) -> None:
    from reid_dhm.files import write_text
    from reid_dhm.report.plots.tradeoff import Measured, accuracy_over_speed

    models = [
        Measured(row["model"], row["images_per_second"], row["tpr"], row["tpr"], row["tpr"])
        for row in rows
    ]
    write_text(path, accuracy_over_speed(models, accuracy).file + "\n")
