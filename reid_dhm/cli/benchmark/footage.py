"""``reid-dhm benchmark footage-pairs``: how well embedders separate the people of a clip."""

from __future__ import annotations

import time
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
            metavar="[MODEL]...", help="Checkpoints or names; the packaged model otherwise."
        ),
    ] = None,
    people: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Ids of one person, a line each: `coat: 3 11`."),
    ] = None,
    precision: Annotated[str, typer.Option(help="Of the embedder.")] = "float32",
    json: JsonOption = None,
    backbone: BackboneOption = None,
    size: SizeOption = None,
    neck: NeckOption = None,
    input: InputOption = None,
) -> None:
    """Share of the pairs of one person's tracklets at rank 1, and the true-positive rate.

    Tracklets are given, so that every model is judged on the same boxes. --backbone, --size and
    --neck are for weights without a card.

    Example: reid-dhm benchmark footage-pairs --video clip.mp4 --tracklets t.txt --truth gt.txt
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from reid_dhm.benchmarks.footage_pairs import FALSE_POSITIVE_RATE, measure
    from reid_dhm.inference.checkpoints import open_checkpoint
    from reid_dhm.inference.default import DEFAULT_CHECKPOINT
    from reid_dhm.inference.embedder import Embedder
    from reid_dhm.inference.zoo.registry import record_speed

    columns = ("model", "pairs at rank 1", f"TPR at FPR {FALSE_POSITIVE_RATE:.0%}", "images/s")
    table = Table(*columns, box=None)
    rows: list[dict[str, Any]] = []
    for model in models or [str(DEFAULT_CHECKPOINT)]:
        embedder = Embedder(
            open_checkpoint(model, backbone, size, neck, input), precision=precision
        )
        seconds: list[tuple[int, float]] = []

        def embed(images: Any, embedder: Embedder = embedder, seconds: Any = seconds) -> Any:
            embedder(images[:64])  # decides on the engine
            start = time.perf_counter()
            embeddings = embedder(images)
            seconds.append((len(images), time.perf_counter() - start))
            return embeddings

        figures = measure(embed, video, tracklets, truth, people)
        count, took = seconds[0]
        record_speed(model, count / took)
        name = Path(model).stem
        rows.append(
            {
                "model": name,
                "rank1": figures.rank1,
                "tpr": figures.tpr,
                "tracklets": figures.tracklets,
                "people": figures.people,
                "images_per_second": count / took,
            }
        )
        table.add_row(
            escape(name), f"{figures.rank1:.3f}", f"{figures.tpr:.3f}", f"{count / took:.0f}"
        )
    Console(soft_wrap=True).print(table)
    typer.echo(f"{rows[0]['tracklets']} labelled tracklets of {rows[0]['people']} people")
    if json is not None:
        write_json(json, rows)
