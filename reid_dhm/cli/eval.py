"""``reid-dhm eval``: CMC, mAP and mINP of a checkpoint on a dataset, or of embeddings in a file."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from reid_dhm.cli.options import (
    BackboneOption,
    DeviceOption,
    FlipOption,
    JsonOption,
    NeckOption,
    PrecisionOption,
    SizeOption,
    write_json,
)

if TYPE_CHECKING:
    from reid_dhm.data.samples import ReIDDataset
    from reid_dhm.inference.embedder import Embedder
    from reid_dhm.retrieval import EmbeddingSet, RetrievalResult

MODEL = "A checkpoint on a dataset"
FILE = "Embeddings in a file"


@dataclass(frozen=True)
class _Sides:
    """What is ranked: where it came from, how many junk rows it lost, seconds of embedding."""

    source: str
    query: EmbeddingSet
    gallery: EmbeddingSet
    num_dropped: int = 0
    seconds: float | None = None


def evaluate(
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            rich_help_panel=MODEL,
            help="A run folder, a .safetensors with its card, or others' weights.",
        ),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(rich_help_panel=MODEL, help="Its name, e.g. market1501.")
    ] = None,
    data_root: Annotated[
        Path | None,
        typer.Option(rich_help_panel=MODEL, help="Where datasets lie.", show_default="datasets"),
    ] = None,
    dataset_option: Annotated[
        list[str] | None,
        typer.Option(
            rich_help_panel=MODEL,
            metavar="KEY=VALUE",
            help="One of its options in datasets/README.md, e.g. boxes=labeled; repeatable.",
        ),
    ] = None,
    embeddings: Annotated[
        Path | None,
        typer.Option(
            rich_help_panel=FILE,
            metavar="FILE",
            help="An .npz of query_ and gallery_ embeddings, pids and camids.",
        ),
    ] = None,
    metric: Annotated[
        Literal["cosine", "euclidean"],
        typer.Option(help="euclidean takes embeddings as they are, not normalised."),
    ] = "cosine",
    camera_rule: Annotated[
        bool, typer.Option(help="Leave out the query's own person from the query's own camera.")
    ] = True,
    ap: Annotated[
        Literal["standard", "trapezoid"],
        typer.Option(help="Average precision; trapezoid is the original Market-1501 code's."),
    ] = "standard",
    flip: FlipOption = False,
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    save_embeddings: Annotated[
        Path | None,
        typer.Option(
            rich_help_panel=MODEL, metavar="FILE", help="Keep the embeddings for --embeddings."
        ),
    ] = None,
    json: JsonOption = None,
    backbone: BackboneOption = None,
    size: SizeOption = None,
    neck: NeckOption = None,
) -> None:
    """Evaluate a model, or embeddings made elsewhere: CMC, mAP and mINP.

    Example: reid-dhm eval --checkpoint runs/demo --dataset market1501 --data-root datasets

    Example: reid-dhm eval --embeddings market.npz --metric euclidean
    """
    from reid_dhm.retrieval import evaluate as rank

    of_models = {
        "--checkpoint": checkpoint,
        "--dataset": dataset,
        "--data-root": data_root,
        "--dataset-option": dataset_option or None,
        "--flip": flip or None,
        "--precision": precision if precision != "auto" else None,
        "--save-embeddings": save_embeddings,
        "--backbone": backbone,
        "--size": size,
        "--neck": neck,
    }
    if embeddings is not None:
        if given := [option for option, value in of_models.items() if value is not None]:
            raise typer.BadParameter(f"{given[0]} has no meaning beside --embeddings: drop one")
        sides = _read(embeddings)
    elif checkpoint is not None and dataset is not None:
        from reid_dhm.inference.checkpoints import open_checkpoint
        from reid_dhm.inference.embedder import Embedder

        options = parse_dataset_options(dataset_option or ())
        loaded = _load(dataset, data_root or Path("datasets"), options)
        opened = open_checkpoint(checkpoint, backbone, size, neck)
        # Raw embeddings serve both metrics, and a saved file can be ranked under either.
        embedder = Embedder(opened, device=device, normalize=False, flip=flip, precision=precision)
        sides = _embed(embedder, loaded, str(checkpoint) + (", flip" if flip else ""))
    else:
        raise typer.BadParameter("give --checkpoint with --dataset, or --embeddings")
    if save_embeddings is not None:
        _save(save_embeddings, sides)

    result = rank(
        sides.query, sides.gallery, metric=metric, camera_rule=camera_rule, ap=ap, device=device
    )
    _print(sides, result)
    if json is not None:
        write_json(json, _figures(sides, result))


def _read(path: Path) -> _Sides:
    from reid_dhm.retrieval.embeddings import read_evaluation_npz

    query, gallery, num_dropped = read_evaluation_npz(path)
    return _Sides(str(path), query, gallery, num_dropped)


def parse_dataset_options(words: Sequence[str]) -> dict[str, Any]:
    """``KEY=VALUE`` words as a mapping; values are YAML scalars, and text where they are not."""
    import yaml

    options: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not (key and equals):
            raise typer.BadParameter(f"--dataset-option {word!r} is no KEY=VALUE")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:  # a regular expression may look like an unfinished list
            value = text
        options[key] = value if isinstance(value, str | bool | int | float) else text
    return options


def _load(name: str, root: Path, options: dict[str, Any]) -> ReIDDataset:
    from reid_dhm.data.datasets import load_dataset

    return load_dataset(name, root, ("query", "gallery"), **options)


def _embed(embedder: Embedder, dataset: ReIDDataset, model: str) -> _Sides:
    from reid_dhm.cli.progress import progress_bar
    from reid_dhm.evaluation import embed_samples

    start = time.perf_counter()
    with progress_bar("Embedding query") as progress:
        query = embed_samples(embedder, dataset.query, progress)
    with progress_bar("Embedding gallery") as progress:
        gallery = embed_samples(embedder, dataset.gallery, progress)
    return _Sides(f"{dataset.name}, {model}", query, gallery, seconds=time.perf_counter() - start)


def _save(path: Path, sides: _Sides) -> None:
    from reid_dhm.retrieval.embeddings import write_evaluation_npz

    path.parent.mkdir(parents=True, exist_ok=True)
    write_evaluation_npz(path, sides.query, sides.gallery)


def _figures(sides: _Sides, result: RetrievalResult) -> dict[str, object]:
    """What ``--json`` writes; seconds of what was not done are null."""
    figures = result.summary()
    seconds = {"embed": sides.seconds, **result.seconds, "rerank": None}
    return {**figures, "num_dropped": sides.num_dropped, "seconds": seconds}


def _print(sides: _Sides, result: RetrievalResult) -> None:
    from rich.console import Console
    from rich.table import Table

    protocol = result.protocol
    table = Table(title=sides.source, title_justify="left", show_header=False)
    rule = "camera rule" if protocol.camera_rule else "no camera rule"
    table.add_row("protocol", f"{protocol.metric}, {rule}, {protocol.ap} AP")
    valid, total = int(result.valid.sum()), len(result.first_rank)
    table.add_row("queries", f"{total} ({valid} with a correct gallery picture)")
    dropped = f" ({sides.num_dropped} junk dropped)" if sides.num_dropped else ""
    table.add_row("gallery", f"{result.num_gallery}{dropped}", end_section=True)
    table.add_row("mAP", f"{result.mAP:.2%}", style="bold")
    table.add_row("mINP", f"{result.mINP:.2%}")
    last = max(result.cmc)
    for k, value in result.cmc.items():
        table.add_row(f"rank-{k}", f"{value:.2%}", end_section=k == last)
    table.add_row("index", f"{result.index} on {result.device}")
    stages = {"embed": sides.seconds, **result.seconds}
    spent = (f"{name} {value:.2f}" for name, value in stages.items() if value is not None)
    table.add_row("seconds", ", ".join(spent))
    Console(soft_wrap=True).print(table)
