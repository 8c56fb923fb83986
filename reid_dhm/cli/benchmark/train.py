"""``reid-dhm benchmark train``: training and its input pipeline compared with torchreid's."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reid_dhm.cli.options import JsonOption, write_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reid_dhm.benchmarks.training.pipeline import PipelineRates
    from reid_dhm.benchmarks.training.throughput import TrainingRates
    from reid_dhm.data.samples import Sample


def train(
    config: Annotated[Path, typer.Argument(help="Backbone, size, batch and recipe.")] = Path(
        "market1501_mobilenetv2_cpu"
    ),
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Keys to change.")
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(help="Dataset below data.root to train on; default: synthetic images."),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Measured steps per round.")] = 20,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds; the median is shown.")] = 3,
    workers: Annotated[int, typer.Option(min=0, help="torchreid's loader processes.")] = 2,
    json: JsonOption = None,
) -> None:
    """Compare training and its input pipeline with torchreid's, and measure the cost of branches.

    Example: reid-dhm benchmark train market1501_mobilenetv2_cpu
    """
    from reid_dhm.config import load_config

    settings = load_config(config, overrides or ())

    import torch

    from reid_dhm.benchmarks.training.pipeline import compare_pipelines, write_images
    from reid_dhm.benchmarks.training.throughput import compare_training

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    size = (settings.model.size[0], settings.model.size[1])
    batch = (settings.train.num_identities, settings.train.num_instances)
    with tempfile.TemporaryDirectory() as scratch:
        samples: Sequence[Sample]
        if dataset is None:
            samples = write_images(Path(scratch))
        else:
            from reid_dhm.data.datasets import load_dataset

            samples = load_dataset(dataset, settings.data.root, ["train"]).train
        pipelines = compare_pipelines(samples, size, device, workers, rounds, batch)
        rates = compare_training(samples, settings, steps, rounds, workers)
    _print(settings.model.backbone, pipelines, rates)
    if json is not None:
        write_json(json, {"pipeline": asdict(pipelines), "training": asdict(rates)})


def _print(backbone: str, pipelines: PipelineRates, rates: TrainingRates) -> None:
    from reid_dhm.cli.output.tables import SafeTable, plain_console

    height, width = pipelines.size
    title = f"{backbone}, {height}x{width}, batches of {pipelines.batch_size}"
    table = SafeTable(title=title, title_justify="left")
    for column in ("images per second", "ours", "torchreid", "ratio"):
        table.add_column(column, justify="left" if column == "images per second" else "right")
    table.add_row(
        f"input pipeline (torchreid: {pipelines.num_workers} workers)",
        f"{pipelines.ours:.0f}",
        f"{pipelines.torchreid:.0f}",
        f"{pipelines.ratio:.2f}",
    )
    for method, rate in rates.ours.items():
        peer = rates.torchreid if method == "baseline" else None
        table.add_row(
            f"training, {method}",
            f"{rate:.1f}",
            "" if peer is None else f"{peer:.1f}",
            "" if peer is None else f"{rate / peer:.2f}",
        )
    console = plain_console(soft_wrap=True)
    console.print(table)
    for method in rates.ours:
        console.print(
            f"{method}: loading and augmenting take {rates.input_share[method]:.1%} of a step; "
            f"the rate is {rates.ours[method] / rates.resident[method]:.1%} of that on one batch "
            "in memory"
        )
    cost = rates.ours["baseline"] / rates.ours["dhm"]
    deployed = rates.deployed["dhm"] / rates.deployed["baseline"]
    console.print(
        f"a training step with DHM branches takes {cost:.2f} times as long as a plain one; "
        f"after deploy(), embedding takes {deployed:.2f} times as long as with the plain network"
    )
