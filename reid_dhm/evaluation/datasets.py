"""From a dataset to figures: its images through an Embedder, the embeddings through retrieval."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from reid_dhm.data.samples import ReIDDataset, Sample
from reid_dhm.inference.embedder import Embedder
from reid_dhm.retrieval import EmbeddingSet, RetrievalResult, evaluate


def embed_samples(
    embedder: Embedder,
    samples: Sequence[Sample],
    on_progress: Callable[[int, int], None] | None = None,
) -> EmbeddingSet:
    """Embed labelled images; row i is ``samples[i]``.

    Raises:
        InputError: no samples, an image that cannot be read, or a model that has no finite
            answer to one.
    """
    return EmbeddingSet(
        embedder([sample.path for sample in samples], on_progress),
        np.array([sample.pid for sample in samples], np.int64),
        np.array([sample.camid for sample in samples], np.int64),
        tuple(str(sample.path) for sample in samples),
    )


def evaluate_dataset(
    embedder: Embedder,
    dataset: ReIDDataset,
    *,
    metric: str = "cosine",
    camera_rule: bool = True,
    ap: str = "standard",
) -> RetrievalResult:
    """Embed query and gallery, and rank; see :func:`reid_dhm.retrieval.evaluate`.

    ``euclidean`` means raw embeddings: the Embedder must not normalise then.
    """
    query = embed_samples(embedder, dataset.query)
    gallery = embed_samples(embedder, dataset.gallery)
    return evaluate(
        query, gallery, metric=metric, camera_rule=camera_rule, ap=ap, device=embedder.device
    )
