"""What an evaluation ranks: a query and a gallery set, read from a file or embedded by a model."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reid_dhm.errors import UnsupportedError
from reid_dhm.evaluation.metadata import Facts, configuration_facts, model_facts
from reid_dhm.retrieval.embeddings import EmbeddingSet
from reid_dhm.retrieval.npz import read_evaluation_npz, write_evaluation_npz

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from reid_dhm.data.samples import ReIDDataset, Sample
    from reid_dhm.inference.embedder import Embedder
    from reid_dhm.inference.engines.exported import ExportedModel
    from reid_dhm.models.card import ModelCard
    from reid_dhm.models.reid import ReIDModel


@dataclass(frozen=True, eq=False)
class QueryGallery:
    """A query and a gallery set, and where they came from.

    Attributes:
        query, gallery: raw (unnormalised) embeddings with their ids.
        name: of the model, or of the file.
        data: name of the dataset, or of the file.
        num_dropped: junk rows that were removed from a file's gallery.
        seconds: time of embedding, None for a file.
        opened: the model and its card, None for a file.
        fingerprint: of the model, None for a file.
        model, configuration: report metadata about the model.
    """

    query: EmbeddingSet
    gallery: EmbeddingSet
    name: str = "embeddings"
    data: str = "arrays"
    num_dropped: int = 0
    seconds: float | None = None
    opened: tuple[ReIDModel | ExportedModel, ModelCard] | None = None
    fingerprint: str | None = None
    model: Facts = field(default_factory=dict)
    configuration: Facts = field(default_factory=dict)

    def activation_maps(
        self, device: str
    ) -> Callable[[Sequence[str]], list[NDArray[np.float32]]] | None:
        """A function from N image paths to N (h, w) maps from 0 to 1; None without a model.

        Raises:
            UnsupportedError: for an exported model, which hides its feature maps.
        """
        from reid_dhm.inference.activation import activation_maps
        from reid_dhm.inference.engines.exported import ExportedModel

        if self.opened is None:
            return None
        model, card = self.opened
        if isinstance(model, ExportedModel):
            raise UnsupportedError(
                f"{model.path} is an exported model, which has no activation maps: give its "
                "checkpoint, or leave out --cam"
            )
        return lambda paths: list(activation_maps(model, card, paths, device))


@dataclass(frozen=True)
class ModelOptions:
    """How checkpoints are opened and run.

    Attributes:
        flip, device, precision: see :class:`~reid_dhm.inference.Embedder`.
        backbone, size, neck, input: for weights and graphs without a card.
    """

    flip: bool = False
    device: str = "auto"
    precision: str = "float32"
    backbone: str | None = None
    size: tuple[int, int] | None = None
    neck: str | None = None
    input: str | None = None


def embed_samples(
    embedder: Embedder,
    samples: Sequence[Sample],
    on_progress: Callable[[int, int], None] | None = None,
) -> EmbeddingSet:
    """Embed labelled images; row i is ``samples[i]``.

    Raises:
        InputError: no samples, an image that cannot be read, or an image whose embedding is not
            finite.
    """
    return EmbeddingSet(
        embedder([sample.path for sample in samples], on_progress),
        np.array([sample.pid for sample in samples], np.int64),
        np.array([sample.camid for sample in samples], np.int64),
        tuple(str(sample.path) for sample in samples),
    )


def embed_dataset(
    checkpoint: Path,
    dataset: ReIDDataset,
    options: ModelOptions,
    progress_bar: Callable[[str], AbstractContextManager[Callable[[int, int], None]]],
) -> QueryGallery:
    """Embed the query and gallery images of a dataset.

    Raises:
        InputError: if the checkpoint cannot be opened, or an image cannot be embedded.
    """
    from reid_dhm.inference.checkpoints import open_checkpoint
    from reid_dhm.inference.embedder import Embedder

    opened = open_checkpoint(
        checkpoint, options.backbone, options.size, options.neck, options.input
    )
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
    return QueryGallery(
        query,
        gallery,
        checkpoint.name if checkpoint.is_dir() else checkpoint.stem,
        dataset.name,
        seconds=time.perf_counter() - start,
        opened=opened,
        fingerprint=embedder.fingerprint,
        model=model_facts(checkpoint, embedder, dataset.name, options.flip),
        configuration=configuration_facts(checkpoint),
    )


def read_query_gallery(path: Path) -> QueryGallery:
    """Read an ``.npz`` of query and gallery embeddings.

    Raises:
        InputError: if the file or one of its arrays cannot be used.
    """
    query, gallery, num_dropped = read_evaluation_npz(path)
    facts = {"embeddings": str(path), "dimensions": str(query.dim)}
    return QueryGallery(query, gallery, path.stem, path.name, num_dropped, model=facts)


def write_query_gallery(path: Path, inputs: QueryGallery) -> None:
    """Write what :func:`read_query_gallery` reads."""
    write_evaluation_npz(path, inputs.query, inputs.gallery)
