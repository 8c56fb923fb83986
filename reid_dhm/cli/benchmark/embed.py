"""``reid-dhm benchmark embed``, ``memory`` and ``precision``: speed and memory of embedding."""

from __future__ import annotations

import json as json_format
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reid_dhm.cli.options import DeviceOption, JsonOption, parse_size, write_json
from reid_dhm.cli.output import say

if TYPE_CHECKING:
    from reid_dhm.benchmarks.embedding.comparison import EmbeddingRates
    from reid_dhm.benchmarks.embedding.precision import PrecisionFigures

_WIDTH = 130  # columns of a table with ranges

ImagesOption = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Images to embed; default: synthetic ones."),
]
InputSizeOption = Annotated[
    Any, typer.Option("--size", metavar="HxW", parser=parse_size, help="Input size of the network.")
]
CountOption = Annotated[
    int, typer.Option("--num-images", "--pictures", min=64, help="Number of images.")
]


def embed(
    backbones: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[BACKBONE]...", help="Default: two OSNets, MobileNetV2 and ResNet-50."
        ),
    ] = None,
    images: ImagesOption = None,
    num_images: CountOption = 2000,
    size: InputSizeOption = "256x128",
    rounds: Annotated[int, typer.Option(min=1, help="Rounds; the median is shown.")] = 5,
    seconds: Annotated[
        float,
        typer.Option(min=0.1, help="Seconds per round and engine; torchreid embeds 256 images."),
    ] = 3.0,
    device: DeviceOption = "auto",
    json: JsonOption = None,
) -> None:
    """Compare embedding image files with torchreid's FeatureExtractor, for every engine.

    MobileNetV2 is the packaged model; the other networks have random weights. `alone` is the rate
    of the engine on batches in memory, `share` the part of it reached from files, `cosine` the
    lowest cosine similarity to torchreid's embeddings. Ranges are over the rounds.

    With --json, backbones already in the file are not measured again.

    Example: reid-dhm benchmark embed osnet_x0_25 --json embedding.json
    """
    from reid_dhm.benchmarks.embedding.comparison import BACKBONES, compare_embedding

    settings = {
        "images": None if images is None else str(images),
        "pictures": num_images,
        "size": list(size),
        "rounds": rounds,
        "seconds": seconds,
        "device": device,
    }
    found = _earlier(json, settings)
    with tempfile.TemporaryDirectory() as scratch:
        paths = images_to_embed(images, num_images, Path(scratch))
        for backbone in backbones or BACKBONES:
            if backbone in found:
                say(f"{backbone}: already in {json}")
                continue
            rates = compare_embedding(backbone, paths, size, device, rounds, seconds)
            _print(rates, size)
            found[backbone] = asdict(rates)
            if json is not None:
                write_json(json, {"settings": settings, "backbones": found})


def memory(
    backbone: Annotated[str, typer.Argument(help="As in embed.")] = "osnet_x0_25",
    images: ImagesOption = None,
    num_images: Annotated[
        int, typer.Option("--num-images", "--pictures", min=1000, help="Number of images.")
    ] = 100_000,
    size: InputSizeOption = "256x128",
    engine: Annotated[str, typer.Option(help="As in embed.")] = "auto",
    device: DeviceOption = "auto",
    json: JsonOption = None,
) -> None:
    """Measure resident memory while a long stream of images is embedded.

    2,000 files are reused.

    Example: reid-dhm benchmark memory --num-images 100000
    """
    from reid_dhm.benchmarks.embedding.comparison import memory_over
    from reid_dhm.benchmarks.embedding.runners import make_network
    from reid_dhm.inference.embedder import Embedder

    with tempfile.TemporaryDirectory() as scratch:
        paths = images_to_embed(images, 2000, Path(scratch))
        embedder = Embedder(make_network(backbone, size, paths), engine, device)
        found = memory_over(embedder, paths, num_images)
    tenth = next(held for done, held in found if done >= num_images / 10)
    peak = max(held for done, held in found if done >= num_images / 10)
    mib = 2**20
    say(
        f"{num_images} images, {backbone}, {embedder.engine} in {embedder.precision}: "
        f"resident memory {tenth / mib:.0f} MiB after 10 % of the images, "
        f"{found[-1][1] / mib:.0f} MiB at the end, {peak / mib:.0f} MiB at most in between"
    )
    if json is not None:
        resident = [{"pictures": done, "bytes": held} for done, held in found]
        write_json(json, {"backbone": backbone, "engine": embedder.engine, "resident": resident})


def precision(
    checkpoint: Annotated[Path, typer.Option(help="A run folder, or a .safetensors.")],
    dataset: Annotated[str, typer.Option(help="Dataset; its training images calibrate int8.")],
    data_root: Annotated[Path, typer.Option(help="Folder that holds the dataset.")] = Path(
        "datasets"
    ),
    rounds: Annotated[int, typer.Option(min=1, help="Rounds; the median is shown.")] = 5,
    figure: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a plot, as .svg, .png or .pdf.")
    ] = None,
    json: JsonOption = None,
) -> None:
    """Measure accuracy and speed of a trained model in OpenVINO: float32, bf16 and int8.

    Example: reid-dhm benchmark precision --checkpoint runs/demo --dataset market1501
    """
    from reid_dhm.benchmarks.embedding.precision import compare_precisions, draw_precisions
    from reid_dhm.data.datasets import load_dataset

    loaded = load_dataset(dataset, data_root)
    calibration = [str(sample.path) for sample in loaded.train]
    found = compare_precisions(checkpoint, loaded, calibration, rounds)
    _print_precisions(found, f"{checkpoint} on {loaded.name}")
    if json is not None:
        write_json(json, [asdict(one) for one in found])
    if figure is not None:
        figure.parent.mkdir(parents=True, exist_ok=True)
        draw_precisions(found, f"{loaded.name}, OpenVINO").savefig(figure)


def images_to_embed(images: Path | None, count: int, scratch: Path) -> list[str]:
    """The images of a folder, at most ``count``; without one, synthetic ones below ``scratch``."""
    if images is not None:
        from reid_dhm.cli.embed import images_below

        return images_below(images)[:count]
    from reid_dhm.benchmarks.training.pipeline import write_images

    samples = write_images(scratch, num_people=-(-count // 16), images_each=16)
    return [str(sample.path) for sample in samples[:count]]


def _earlier(path: Path | None, settings: dict[str, Any]) -> dict[str, Any]:
    """Figures in a file that was measured with the same settings."""
    if path is None or not path.is_file():
        return {}
    try:
        content = json_format.loads(path.read_text())
    except ValueError as error:
        raise typer.BadParameter(f"{path} is not JSON ({error}): give another --json") from error
    if content.get("settings") != settings:
        raise typer.BadParameter(f"{path} was measured with other settings: give another --json")
    return dict(content["backbones"])


def _print(rates: EmbeddingRates, size: tuple[int, int]) -> None:
    from reid_dhm.cli.output.tables import SafeTable, plain_console

    title = f"{rates.backbone}, {size[0]}x{size[1]}, images per second"
    table = SafeTable(title=title, title_justify="left")
    for column in ("", "from files", "ratio to torchreid", "alone", "share", "cosine"):
        table.add_column(column, justify="right" if column else "left")
    for one in rates.engines:
        mark = " *" if (one.engine, one.precision) == rates.chosen else ""
        table.add_row(
            f"{one.engine}, {one.precision}{mark}",
            spread(one.files, "{:.1f}"),
            spread([f / p for f, p in zip(one.files, rates.torchreid, strict=True)], "{:.2f}"),
            spread(one.bare, "{:.1f}"),
            spread(one.share, "{:.1%}"),
            f"{one.cosine:.6f}",
        )
    table.add_row(
        f"torchreid, {rates.peer_list} per call", spread(rates.torchreid, "{:.1f}"), "1.00"
    )
    console = plain_console(width=_WIDTH, soft_wrap=True)
    console.print(table)
    console.print(
        f"* chosen by auto; torchreid in a separate process: {rates.torchreid_alone:.1f} at best; "
        f"deploy() after training with branches takes {rates.deployed:.3f} times as long as the "
        "plain network"
    )


def spread(values: Sequence[float], form: str) -> str:
    """Median (lowest-highest)."""
    low, high = form.format(min(values)), form.format(max(values))
    return f"{form.format(statistics.median(values))} ({low}-{high})"


def _print_precisions(found: list[PrecisionFigures], title: str) -> None:
    from reid_dhm.cli.output.tables import SafeTable, plain_console

    table = SafeTable(title=title, title_justify="left")
    for column in ("", "mAP", "rank-1", "images per second", "lowest cosine", "mean cosine"):
        table.add_column(column, justify="right" if column else "left")
    for one in found:
        table.add_row(
            one.precision,
            f"{one.mean_ap:.2%}",
            f"{one.rank1:.2%}",
            f"{one.rate:.0f} ({one.slowest:.0f}-{one.fastest:.0f})",
            f"{one.lowest:.5f}",
            f"{one.mean:.5f}",
        )
    plain_console(width=_WIDTH, soft_wrap=True).print(table)
