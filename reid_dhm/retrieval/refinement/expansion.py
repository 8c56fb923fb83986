"""Query expansion and database-side augmentation: embeddings averaged with their neighbours.

Both weigh a neighbour by its similarity to the power α (Radenović et al., "Fine-tuning CNN Image
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
    """Each query with its k nearest gallery images, averaged and normalised.

    The sum is of unit vectors: the query with weight 1, a neighbour of cosine s with weight s^α,
    and one that is no closer than a right angle not at all.

    Args:
        query, gallery: of equal dimension; who is shown is not looked at.
        k: neighbours, 1 or more; more than the gallery has means all of it.
        alpha: exponent, 0 or more.
        metric: only ``cosine`` has a meaning here.
        device: of FAISS: the CPU beside ``cpu``, else every GPU that it sees, if it sees any.

    Returns:
        The queries in the same order with (Q, D) float32 unit rows.

    Raises:
        InputError: for another metric, k or alpha out of range, or a zero row (named by number).
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
    """Each gallery image with its k nearest other ones, averaged as :func:`expand_queries` does.

    Arguments, result and errors are those of :func:`expand_queries`.
    """
    _check(k, alpha, metric)
    index = _index(gallery, device)
    scores, neighbours = index.search(gallery.embeddings, min(k + 1, len(gallery)))
    # The first is the image itself, or one of the same direction: it makes no difference.
    scores, neighbours = scores[:, 1:], neighbours[:, 1:]
    units = _units(gallery.embeddings, index.space.norms)
    return _replaced(gallery, units + _weighted(scores, neighbours, alpha, units))


def _check(k: int, alpha: float, metric: str) -> None:
    if metric != "cosine":
        raise InputError(
            f"expansion under the metric {metric!r} is not defined: its weights are cosines and "
            "its sums are of unit vectors; use the metric cosine or leave expansion out"
        )
    if k < 1:
        raise InputError(f"k of expansion is {k}; give 1 neighbour or more")
    if not 0 <= alpha < math.inf:
        raise InputError(f"alpha of expansion is {alpha}; give a number of 0 or more")


def _index(gallery: EmbeddingSet, device: str) -> GalleryIndex:
    return GalleryIndex(gallery.embeddings, device="cpu" if device == "cpu" else "auto")


def _units(rows: NDArray[np.float32], norms: Tensor) -> NDArray[np.float32]:
    """(N, D) rows of length 1: divided in float64, where no length is extreme."""
    units = np.empty_like(rows)
    return np.divide(rows, norms.numpy()[:, None], out=units, casting="same_kind")


def _weighted(
    scores: NDArray[np.float64],
    neighbours: NDArray[np.int64],
    alpha: float,
    units: NDArray[np.float32],
) -> NDArray[np.float32]:
    """(N, D) sum of each row's ``neighbours`` (N, k) by their ``scores``."""
    count, k = neighbours.shape
    weights = np.where(scores > 0, np.maximum(scores, 0) ** alpha, 0).astype(np.float32)
    rows = weights.ravel(), neighbours.ravel(), np.arange(count + 1) * k
    return csr_array(rows, shape=(count, len(units))) @ units


def _replaced(embeddings: EmbeddingSet, sums: NDArray[np.float32]) -> EmbeddingSet:
    """The set with normalised ``sums``: each lies on its own image's side, so none is zero."""
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    return EmbeddingSet(sums / lengths, embeddings.pids, embeddings.camids, embeddings.paths)
