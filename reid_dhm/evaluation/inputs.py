"""Query and gallery of an evaluation: read from a file, or embedded from a dataset."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from reid_dhm.data.samples import ReIDDataset
    from reid_dhm.evaluation.metadata import Facts
    from reid_dhm.inference.engines.exported import ExportedModel
    from reid_dhm.models.card import ModelCard
    from reid_dhm.models.reid import ReIDModel
    from reid_dhm.retrieval import EmbeddingSet


@dataclass(frozen=True, eq=False)
class Sides:
    """What is ranked, and where it came from.

    Attributes:
        name: of the model, or of the file.
        data: name of the dataset, or of the file.
        query, gallery: raw embeddings.
        num_dropped: junk rows that a file lost.
        seconds: of embedding, None for a file.
        opened: the model and its card, None for a file.
        fingerprint: of the model.
        model, configuration: what a report says of it.
    """

    name: str
    data: str
    query: EmbeddingSet
    gallery: EmbeddingSet
    num_dropped: int = 0
    seconds: float | None = None
    opened: tuple[ReIDModel | ExportedModel, ModelCard] | None = None
    fingerprint: str | None = None
    model: Facts = field(default_factory=dict)
    configuration: Facts = field(default_factory=dict)


@dataclass(frozen=True)
class ModelOptions:
    """How checkpoints are opened and run.

    Attributes:
        flip, device, precision: see :class:`~reid_dhm.inference.Embedder`.
        backbone, size, neck: for weights without a card.
    """

    flip: bool = False
    device: str = "auto"
    precision: str = "float32"
    backbone: str | None = None
    size: tuple[int, int] | None = None
    neck: str | None = None


def read_sides(path: Path) -> Sides:
    """Query and gallery of an evaluation file."""
    from reid_dhm.retrieval.embeddings import read_evaluation_npz

    query, gallery, num_dropped = read_evaluation_npz(path)
    facts = {"embeddings": str(path), "dimensions": str(query.dim)}
    return Sides(path.stem, path.name, query, gallery, num_dropped, model=facts)


def embed_sides(
    checkpoint: Path,
    dataset: ReIDDataset,
    options: ModelOptions,
    progress_bar: Callable[[str], AbstractContextManager[Callable[[int, int], None]]],
) -> Sides:
    """Embed query and gallery of a dataset."""
    from reid_dhm.evaluation.datasets import embed_samples
    from reid_dhm.evaluation.metadata import configuration_facts, model_facts
    from reid_dhm.inference.checkpoints import open_checkpoint
    from reid_dhm.inference.embedder import Embedder

    opened = open_checkpoint(checkpoint, options.backbone, options.size, options.neck)
    # Raw embeddings serve both metrics, and a saved file can be ranked under either.
    embedder = Embedder(
        opened,
        device=options.device,
        normalize=False,
        flip=options.flip,
        precision=options.precision,
    )
    start = time.perf_counter()
    with progress_bar(f"Embedding query, {checkpoint.name}") as progress:
        query = embed_samples(embedder, dataset.query, progress)
    with progress_bar(f"Embedding gallery, {checkpoint.name}") as progress:
        gallery = embed_samples(embedder, dataset.gallery, progress)
    return Sides(
        checkpoint.name if checkpoint.is_dir() else checkpoint.stem,
        dataset.name,
        query,
        gallery,
        seconds=time.perf_counter() - start,
        opened=opened,
        fingerprint=embedder.fingerprint,
        model=model_facts(checkpoint, embedder, dataset.name, options.flip),
        configuration=configuration_facts(checkpoint),
    )


def save_sides(path: Path, sides: Sides) -> None:
    """Keep the embeddings for ``--embeddings``."""
    from reid_dhm.retrieval.embeddings import write_evaluation_npz

    path.parent.mkdir(parents=True, exist_ok=True)
    write_evaluation_npz(path, sides.query, sides.gallery)


def load_sides_dataset(name: str, root: Path | None, words: Sequence[str]) -> ReIDDataset:
    """The query and gallery images of a dataset; ``words`` are its options as ``KEY=VALUE``."""
    from reid_dhm.data.datasets import load_dataset

    options = parse_dataset_options(words)
    return load_dataset(name, root or Path("datasets"), ("query", "gallery"), **options)


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
