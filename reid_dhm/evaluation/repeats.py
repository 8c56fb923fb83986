"""Figures over repeated trainings: mean, deviation, and intervals of paired differences.

A repetition (seed) and a person are both drawn by chance, so both are resampled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reid_dhm.errors import InputError
from reid_dhm.evaluation.confidence import Estimate
from reid_dhm.retrieval.results import RetrievalResult

_BATCH = 2**22  # people drawn at a time


@dataclass(frozen=True, eq=False)
class QueryFigures:
    """What every query or image of one run adds to each figure.

    Attributes:
        names: of the F figures.
        values: (F, N) float64; a figure is the mean of its row.
        clusters: (N,) int64, the person of each query; images of classes stand for themselves.
    """

    names: tuple[str, ...]
    values: NDArray[np.float64]
    clusters: NDArray[np.int64]

    @classmethod
    def of(cls, result: RetrievalResult, pids: NDArray[np.int64]) -> QueryFigures:
        """``mAP``, ``mINP`` and ``rank1`` of the valid queries; ``pids`` (Q,) are all queries'."""
        rows = [
            result.average_precision,
            result.inverse_negative_penalty,
            result.matched_within(1),
        ]
        values = np.stack(rows).astype(np.float64)[:, result.valid]
        return cls(("mAP", "mINP", "rank1"), values, pids[result.valid])

    @classmethod
    def joined(cls, parts: Sequence[QueryFigures]) -> QueryFigures:
        """Several sets as one; people of different sets stay apart."""
        clusters, first = [], 0
        for part in parts:
            _, person = np.unique(part.clusters, return_inverse=True)
            clusters.append(person + first)
            first += int(person.max()) + 1
        values = np.concatenate([part.values for part in parts], axis=1)
        return cls(parts[0].names, values, np.concatenate(clusters).astype(np.int64))

    def means(self) -> dict[str, float]:
        """The figures."""
        return dict(zip(self.names, self.values.mean(axis=1).tolist(), strict=True))


@dataclass(frozen=True)
class Condition:
    """One row of a grid's table.

    Attributes:
        name: what it differs in.
        seeds: of its finished runs.
        figures: name → mean over seeds and deviation between them.
        differences: name → mean minus the reference's over the seeds that both have; empty for
            the reference, and where no seed is shared.
        paired: number of those seeds.
        minutes: mean training time of a run.
        records: per seed, the epochs that were logged.
    """

    name: str
    seeds: tuple[int, ...]
    figures: Mapping[str, tuple[float, float | None]]
    differences: Mapping[str, Estimate]
    paired: int
    minutes: float
    records: Mapping[int, Sequence[Mapping[str, Any]]]

    def summary(self) -> dict[str, Any]:
        """What ``reid-dhm experiment --json`` writes of it."""
        return {
            "condition": self.name,
            "seeds": list(self.seeds),
            "figures": {
                name: {"mean": mean, "deviation": deviation}
                for name, (mean, deviation) in self.figures.items()
            },
            "differences": {
                name: {"value": each.value, "interval": [each.low, each.high]}
                for name, each in self.differences.items()
            },
            "paired_seeds": self.paired,
            "minutes": self.minutes,
        }


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean, and standard deviation between repetitions (n - 1); ``None`` for a single one."""
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return float(np.mean(values)), deviation


def repeated_differences(
    first: Sequence[QueryFigures],
    second: Sequence[QueryFigures],
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Intervals of the mean figures of ``first`` minus those of ``second``.

    Run *k* of one is paired with run *k* of the other (the same seed). People and pairs of runs are
    drawn with replacement, independently, as many as there are; the percentile interval is taken.
    With one pair of runs it carries the choice of people alone, and with few of them it is
    too narrow: three runs have ten different draws.

    Args:
        first, second: S runs each on the same N queries.
        level: between 0 and 1.
        resamples: number of resamples.
        seed: of the resampling.

    Raises:
        InputError: no runs, or runs on different queries.
    """
    if not first or len(first) != len(second):
        raise InputError(f"{len(first)} runs cannot be paired with {len(second)}: give as many")
    clusters = first[0].clusters
    for run in (*first, *second):
        if not np.array_equal(run.clusters, clusters):
            raise InputError("runs were evaluated on different images: evaluate them on the same")
    differences = np.stack([a.values - b.values for a, b in zip(first, second, strict=True)])
    _, person = np.unique(clusters, return_inverse=True)
    count = np.bincount(person).astype(np.float64)
    sums = np.array([[np.bincount(person, row) for row in run] for run in differences])
    values = differences.mean(axis=(0, 2))
    if len(count) == 1:
        lows, highs = -np.ones_like(values), np.ones_like(values)
    else:
        lows, highs = _bootstrap(sums, count, level, resamples, seed)
        lows, highs = np.minimum(lows, values), np.maximum(highs, values)
    return {
        name: Estimate(float(value), float(low), float(high), level)
        for name, value, low, high in zip(first[0].names, values, lows, highs, strict=True)
    }


def _bootstrap(
    sums: NDArray[np.float64],
    count: NDArray[np.float64],
    level: float,
    resamples: int,
    seed: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(F,) ends of the interval, from (S, F, P) sums over the queries of each person."""
    random = np.random.default_rng(seed)
    runs, figures, people = sums.shape
    batch, means = max(1, _BATCH // people), []
    for start in range(0, resamples, batch):
        size = min(batch, resamples - start)
        drawn = random.integers(0, people, (size, people))
        times = np.stack([np.bincount(row, minlength=people) for row in drawn]).astype(np.float64)
        each = (sums.reshape(-1, people) @ times.T) / (times @ count)
        chosen = random.integers(0, runs, (size, runs))
        share = np.stack([np.bincount(row, minlength=runs) for row in chosen]) / runs
        means.append(np.einsum("sfb,bs->fb", each.reshape(runs, figures, size), share))
    tail = (1 - level) / 2
    low, high = np.quantile(np.concatenate(means, axis=1), [tail, 1 - tail], axis=1)
    return low, high
