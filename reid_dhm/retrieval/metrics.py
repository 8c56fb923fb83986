"""CMC, average precision and mINP from the ranks of the correct images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def average_precision(
    query: NDArray[np.int64], rank: NDArray[np.int64], total: int, kind: str = "standard"
) -> NDArray[np.float64]:
    """Average precision of every query.

    With the correct images of a query at ranks r_1 < … < r_n, ``standard`` is the mean of j / r_j
    (torchreid, fast-reid). ``trapezoid`` is the original Market-1501 MATLAB code's (Zheng et al.
    2015): the mean of j / r_j and of the precision one place earlier, (j - 1) / (r_j - 1), which
    counts as 1 where r_j = 1.

    Args:
        query: (n,) ascending query row of each correct image.
        rank: (n,) 1-based ranks, ascending within a query.
        total: Q, the number of queries.
        kind: ``standard`` or ``trapezoid``.

    Returns:
        (Q,) float64 in (0, 1], NaN for a query without a correct image.
    """
    found = _position(query)
    precision = found / rank
    if kind == "trapezoid":
        before = np.where(rank == 1, 1.0, (found - 1) / np.maximum(rank - 1, 1))
        precision = (precision + before) / 2
    count = np.bincount(query, minlength=total)
    summed = np.bincount(query, weights=precision, minlength=total)
    return np.divide(summed, count, out=np.full(total, np.nan), where=count > 0)


def inverse_negative_penalty(
    query: NDArray[np.int64], rank: NDArray[np.int64], total: int
) -> NDArray[np.float64]:
    """INP: number of correct images over the rank of the last one (Ye et al. 2021, section 3.3).

    Arguments and result as for :func:`average_precision`.
    """
    count = np.bincount(query, minlength=total)
    last = np.zeros(total, dtype=np.int64)
    np.maximum.at(last, query, rank)
    return np.divide(count, last, out=np.full(total, np.nan), where=count > 0)


def first_rank(query: NDArray[np.int64], rank: NDArray[np.int64], total: int) -> NDArray[np.int64]:
    """(Q,) rank of the first correct image, 0 for a query without one."""
    first = np.zeros(total, dtype=np.int64)
    is_first = _position(query) == 1
    first[query[is_first]] = rank[is_first]
    return first


def cumulative_match(first: NDArray[np.int64], ranks: Sequence[int]) -> dict[int, float]:
    """CMC: the share of queries whose first correct image ranks k or better, for each k.

    Args:
        first: (Q,) from :func:`first_rank`, or (R, Q) for R draws of the gallery, which are
            averaged; queries without a correct image (0) are left out.
        ranks: the values of k; they may exceed the gallery size.
    """
    counted = first[first > 0]
    return {k: float((counted <= k).mean()) for k in ranks}


def _position(query: NDArray[np.int64]) -> NDArray[np.int64]:
    """1-based position of each correct image among those of its query."""
    return np.arange(1, len(query) + 1) - np.searchsorted(query, query)
