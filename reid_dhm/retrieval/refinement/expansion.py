"""Query expansion and database-side augmentation: average embeddings with their neighbours.

Both weight a neighbour by its similarity to the power α (Radenović et al., "Fine-tuning CNN Image
Retrieval with No Human Annotation", TPAMI 2019, section 3.4: αQE); α = 0 is the plain average.
Neighbours come from :class:`.index.GalleryIndex`.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor

from reid_dhm.errors import InputError
from reid_dhm.retrieval.embeddings import EmbeddingSet
from reid_dhm.retrieval.index import GalleryIndex


def expand_queries(
    query: EmbeddingSet,
    gallery: EmbeddingSet,
    *,
    k: int,
    alpha: float = 3.0,
    metric: str = "cosine",
    device: str = "auto",
) -> EmbeddingSet:
    """Average each query with its k nearest gallery images, and normalise.

    Unit vectors are summed: the query with weight 1, a neighbour with cosine s > 0 with weight
    s^α; neighbours with s ≤ 0 are ignored.

    Args:
        query, gallery: of equal dimension; ids are not used.
        k: number of neighbours, 1 or more; larger than the gallery means all of it.
        alpha: exponent, 0 or more.
        metric: must be ``cosine``.
        device: ``cpu`` for FAISS on the CPU, else all GPUs that it sees, if any.

    Returns:
        The queries in the same order with (Q, D) float32 unit rows.

    Raises:
        InputError: another metric, k or alpha out of range, or a zero row (its number is named).
    """
    _check(k, alpha, metric)
    index = _index(gallery, device)
    scores, neighbours = index.search(query.embeddings, min(k, len(gallery)))
    units = _units(gallery.embeddings, index.space.norms)
    rows = torch.from_numpy(query.embeddings)
    own = _units(query.embeddings, index.space.query_norms(rows))
    return _replaced(query, own + _weighted(scores, neighbours, alpha, units))


def augment_gallery(
    gallery: EmbeddingSet,
    *,
    k: int,
    alpha: float = 3.0,
    metric: str = "cosine",
    device: str = "auto",
) -> EmbeddingSet:
    """Average each gallery image with its k nearest others, as :func:`expand_queries` does.

    Arguments, result and errors as for :func:`expand_queries`.
    """
    _check(k, alpha, metric)
    index = _index(gallery, device)
    scores, neighbours = index.search(gallery.embeddings, min(k + 1, len(gallery)))
    # The first is the image itself, or an image with the same direction: the sum is the same.
    scores, neighbours = scores[:, 1:], neighbours[:, 1:]
    units = _units(gallery.embeddings, index.space.norms)
    return _replaced(gallery, units + _weighted(scores, neighbours, alpha, units))


def _check(k: int, alpha: float, metric: str) -> None:
    if metric != "cosine":
        raise InputError(
            f"expansion under the metric {metric!r} is not defined, since its weights are cosines "
            "of unit vectors: use the metric cosine or leave expansion out"
        )
    if k < 1:
        raise InputError(f"k of expansion is {k}: give 1 or more")
    if not 0 <= alpha < math.inf:
        raise InputError(f"alpha of expansion is {alpha}: give a number of 0 or more")


def _index(gallery: EmbeddingSet, device: str) -> GalleryIndex:
    return GalleryIndex(gallery.embeddings, device="cpu" if device == "cpu" else "auto")


def _units(rows: NDArray[np.float32], norms: Tensor) -> NDArray[np.float32]:
    """(N, D) rows of length 1, divided in float64 to avoid overflow."""
    units = np.empty_like(rows)
    return np.divide(rows, norms.numpy()[:, None], out=units, casting="same_kind")


def _weighted(
    scores: NDArray[np.float64],
    neighbours: NDArray[np.int64],
    alpha: float,
    units: NDArray[np.float32],
) -> NDArray[np.float32]:
    """(N, D) sum of each row's ``neighbours`` (N, k), weighted by their ``scores``."""
    count, k = neighbours.shape
    weights = np.where(scores > 0, np.maximum(scores, 0) ** alpha, 0).astype(np.float32)
    rows = weights.ravel(), neighbours.ravel(), np.arange(count + 1) * k
    return csr_array(rows, shape=(count, len(units))) @ units


def _replaced(embeddings: EmbeddingSet, sums: NDArray[np.float32]) -> EmbeddingSet:
    """The set with normalised ``sums``; each has a positive cosine to its image, so not zero."""
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    return EmbeddingSet(sums / lengths, embeddings.pids, embeddings.camids, embeddings.paths)
