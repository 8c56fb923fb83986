"""Multi-query: pool all query images of one person in one camera."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from reid_dhm.errors import InputError
from reid_dhm.retrieval.embeddings import EmbeddingSet
from reid_dhm.retrieval.protocol import Protocol

_KINDS = {"mean": np.add, "max": np.maximum}


def pool_queries(query: EmbeddingSet, how: str, metric: str = "cosine") -> EmbeddingSet:
    """Pool the queries of each person and camera into one row.

    This is the multi-query protocol of Market-1501 (Zheng et al. 2015), which uses the hand-drawn
    boxes of ``gt_bbox/``.

    Args:
        query: N images.
        how: elementwise ``mean`` or ``max``.
        metric: under ``cosine`` rows are normalised first, so that images have equal weight.

    Returns:
        One row per pid and camid, ascending; its path is that of its first image.

    Raises:
        InputError: an unknown ``how`` or metric, or a zero row under ``cosine``.
    """
    if how not in _KINDS:
        raise InputError(f"multi-query is {how!r}: choose one of {', '.join(_KINDS)}")
    rows = _rows(query, Protocol(metric).metric)
    order = np.lexsort((query.camids, query.pids))
    pids, camids = query.pids[order], query.camids[order]
    starts = np.flatnonzero(np.r_[True, (np.diff(pids) != 0) | (np.diff(camids) != 0)])
    pooled = _KINDS[how].reduceat(rows[order], starts)
    if how == "mean":
        pooled /= np.diff(np.r_[starts, len(order)])[:, None]
    first = order[starts]
    paths = None if query.paths is None else tuple(query.paths[row] for row in first)
    return EmbeddingSet(pooled, pids[starts], camids[starts], paths)


def _rows(query: EmbeddingSet, metric: str) -> NDArray[np.float64]:
    """(N, D) float64 rows, normalised under ``cosine``."""
    rows = query.embeddings.astype(np.float64)
    if metric == "cosine":
        lengths = np.linalg.norm(rows, axis=1)
        if not lengths.all():
            raise InputError(
                f"query embeddings row {int(np.argmin(lengths))} is zero and has no direction: "
                "embed that image again, leave it out, or use the metric euclidean"
            )
        rows /= lengths[:, None]
    return rows
