"""Bootstrap confidence intervals of figures and of differences between models.

Queries of one person are correlated, so people are resampled, not queries.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reid_dhm.errors import InputError
from reid_dhm.retrieval.results import RetrievalResult

_BATCH = 2**20  # people drawn at a time


@dataclass(frozen=True)
class Estimate:
    """A figure and its interval.

    Attributes:
        value: over all valid queries.
        low, high: ends of the interval; the value lies between them.
        level: confidence level, e.g. 0.95.
    """

    value: float
    low: float
    high: float
    level: float = 0.95


def intervals(
    result: RetrievalResult,
    pids: NDArray[np.int64],
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Intervals of ``mAP``, ``mINP`` and ``rank1`` over the people of the queries.

    People are drawn with replacement, as many as there are, each with all valid queries; a figure
    is the mean over the queries drawn (cluster bootstrap; Davison and Hinkley 1997, section 3.8).
    The interval is the percentile interval. In simulations the bias-corrected one (BCa) had about
    the same coverage; it is undefined where every query is right, and its cost grows with the
    square of the number of people. Both are too narrow for few people: with 20, intervals for
    95 % covered about 92 %.

    With one person the interval is the whole range from 0 to 1.

    Args:
        result: of Q queries.
        pids: (Q,) person ids of the queries.
        level: between 0 and 1.
        resamples: number of resamples, 1 or more.
        seed: of the resampling, 0 or more; the same seed gives the same interval.

    Raises:
        InputError: ``pids`` of another length, or another argument out of range.
    """
    return _intervals(_figures(result), result.valid, pids, level, resamples, seed, (0.0, 1.0))


def paired_differences(
    first: RetrievalResult,
    second: RetrievalResult,
    pids: NDArray[np.int64],
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Intervals of ``mAP``, ``mINP`` and ``rank1`` of ``first`` minus those of ``second``.

    The same people are drawn for both results, so what is hard for both cancels, and the interval
    is narrower than those of the two figures. If it does not contain 0, the results differ by more
    than the choice of people explains. Otherwise as :func:`intervals`; with one person the
    interval is the whole range from -1 to 1.

    Raises:
        InputError: as :func:`intervals`, or results with different queries, valid queries or
            protocols (camera rule, AP, gallery).
    """
    if len(first.valid) != len(second.valid):
        raise InputError(
            f"the first result has {len(first.valid)} queries and the second "
            f"{len(second.valid)}: compare runs on the same queries"
        )
    if (first.valid != second.valid).any():
        row = int(np.argmax(first.valid != second.valid))
        raise InputError(
            f"query {row} has a correct gallery image in one result and none in the other: "
            "compare runs on the same gallery"
        )
    for name in ("camera_rule", "ap", "gallery"):
        left, right = (getattr(result.protocol, name) for result in (first, second))
        if left != right:
            raise InputError(
                f"the first result has {name} {left!r} and the second {right!r}: evaluate both "
                "with the same settings"
            )
    differences = _figures(first) - _figures(second)
    return _intervals(differences, first.valid, pids, level, resamples, seed, (-1.0, 1.0))


def _figures(result: RetrievalResult) -> NDArray[np.float64]:
    """(3, Q) contribution of each query to mAP, mINP and rank-1."""
    return np.stack(
        [result.average_precision, result.inverse_negative_penalty, result.matched_within(1)]
    )


def _intervals(
    figures: NDArray[np.float64],
    valid: NDArray[np.bool_],
    pids: NDArray[np.int64],
    level: float,
    resamples: int,
    seed: int,
    whole: tuple[float, float],
) -> dict[str, Estimate]:
    if len(pids) != len(valid):
        raise InputError(f"{len(pids)} pids were given for {len(valid)} queries: give one for each")
    if not 0 < level < 1:
        raise InputError(f"level is {level}: give a probability between 0 and 1, such as 0.95")
    if seed < 0:
        raise InputError(f"seed is {seed}: give 0 or more")
    if resamples < 1:
        raise InputError(f"resamples is {resamples}: give 1 or more")
    _, person = np.unique(pids[valid], return_inverse=True)
    count = np.bincount(person)
    sums = np.array([np.bincount(person, weights=row) for row in figures[:, valid]], np.float64)
    values = sums.sum(axis=1) / count.sum()
    if len(count) == 1:
        lows, highs = (np.full(len(values), end) for end in whole)
    else:
        ends = _bootstrap(sums, count, level, resamples, seed)
        lows, highs = np.minimum(ends[0], values), np.maximum(ends[1], values)
    return {
        name: Estimate(float(value), float(low), float(high), level)
        for name, value, low, high in zip(
            ("mAP", "mINP", "rank1"), values, lows, highs, strict=True
        )
    }


def _bootstrap(
    sums: NDArray[np.float64], count: NDArray[np.int64], level: float, resamples: int, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(3,) low and high ends of the interval of ``sums.sum(1) / count.sum()``."""
    random, people = np.random.default_rng(seed), len(count)
    batch, means = max(1, _BATCH // people), []
    for start in range(0, resamples, batch):
        drawn = random.integers(0, people, (min(batch, resamples - start), people))
        means.append(sums[:, drawn].sum(axis=-1) / count[drawn].sum(axis=-1))
    tail = (1 - level) / 2
    low, high = np.quantile(np.concatenate(means, axis=1), [tail, 1 - tail], axis=1)
    return low, high
