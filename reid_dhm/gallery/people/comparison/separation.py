"""How well embeddings tell the known pairs of a gallery apart, with intervals over tracklets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reid_dhm.evaluation.confidence import Estimate
from reid_dhm.evaluation.pair_scores import PairScores
from reid_dhm.evaluation.run import PairStatistics
from reid_dhm.gallery.people.comparison.known_pairs import KnownPairs

RATES = (1e-2, 1e-3)
"""False-positive rates."""

_LEVEL, _RESAMPLES = 0.95, 1000
_AT_ONCE = 2**24  # weights in memory
_BINS = 2**14


@dataclass(frozen=True, eq=False)
class Separation:
    """How well one model separates known pairs.

    Attributes:
        pairs: its scores, for ROC curves; with a point for each false-positive rate that the number
            of pairs can measure.
        tpr: true-positive rate at each of these rates: share of the same-person pairs above the
            similarity that lets this share of the different-person pairs pass.
        resampled: (R, K) the same rates in resamples of the tracklets.
        same, different: (P,) and (M,) float64 similarities of the pairs.
    """

    pairs: PairStatistics
    tpr: dict[float, Estimate]
    resampled: NDArray[np.float64]
    same: NDArray[np.float64]
    different: NDArray[np.float64]


def separation(
    embeddings: NDArray[np.float32],
    known: KnownPairs,
    rates: Sequence[float] = RATES,
    seed: int = 0,
) -> Separation:
    """Measure one model.

    Tracklets are drawn with replacement, with all their pairs (a cluster bootstrap): pairs that
    share a tracklet are no independent evidence. Equal seeds draw the same tracklets, so that
    :func:`difference` compares models on equal terms.

    Args:
        embeddings: (N, D) unit rows of the images of ``known``.
        known: pairs of images.
        rates: false-positive rates; those below one pair of all are left out.
        seed: of the resampling.
    """
    same, different = (
        np.einsum("nd,nd->n", embeddings[left], embeddings[right], dtype=np.float64)
        for left, right in (known.same, known.different)
    )
    edges = np.linspace(-1 - 1 / _BINS, 1 + 1 / _BINS, _BINS + 2)
    counts = [np.histogram(np.clip(side, -1, 1), edges)[0] for side in (same, different)]
    scores = PairScores("cosine", edges, counts[0], counts[1])
    points = tuple(scores.operating_points(rates))
    kept = [point.asked for point in points]
    whole = _rates(same, different, known, np.ones((1, known.tracklets.max() + 1)), kept)[0]
    resampled = _resampled(same, different, known, kept, seed)
    return Separation(
        PairStatistics(scores, points, scores.calibrate()),
        {
            rate: _estimate(float(value), samples)
            for rate, value, samples in zip(kept, whole, resampled.T, strict=True)
        },
        *(resampled, same, different),
    )


def difference(first: Separation, second: Separation) -> Estimate:
    """True-positive rate of ``first`` minus that of ``second``, at the first false-positive rate.

    Both were measured on the same pairs with the same seed. An interval that holds 0 may be chance.
    """
    rate = next(iter(first.tpr))
    return _estimate(
        first.tpr[rate].value - second.tpr[rate].value,
        first.resampled[:, 0] - second.resampled[:, 0],
    )


def _resampled(
    same: NDArray[np.float64],
    different: NDArray[np.float64],
    known: KnownPairs,
    rates: Sequence[float],
    seed: int,
) -> NDArray[np.float64]:
    random, count = np.random.default_rng(seed), int(known.tracklets.max()) + 1
    parts, step = [], max(1, _AT_ONCE // len(different))
    for start in range(0, _RESAMPLES, step):
        drawn = random.multinomial(
            count, np.full(count, 1 / count), min(step, _RESAMPLES - start)
        ).astype(np.float32)
        parts.append(_rates(same, different, known, drawn, rates))
    return np.concatenate(parts)


def _rates(
    same: NDArray[np.float64],
    different: NDArray[np.float64],
    known: KnownPairs,
    drawn: NDArray[np.floating],
    rates: Sequence[float],
) -> NDArray[np.float64]:
    """(R, K) true-positive rates where tracklet t counts ``drawn[r, t]`` times."""
    order = np.argsort(-different)
    left, right = (drawn[:, known.tracklets[side[order]]] for side in known.different)
    passed = np.cumsum(left * right, axis=1, dtype=np.float64)
    weight = drawn[:, known.tracklets[known.same[0]]]
    total = np.maximum(weight.sum(axis=1), 1e-9)
    found = []
    for rate in rates:
        # The most similar different-person pair that must not pass.
        first = (passed <= rate * passed[:, -1:]).sum(axis=1)
        threshold = different[order][np.minimum(first, len(order) - 1)]
        found.append((weight * (same > threshold[:, None])).sum(axis=1) / total)
    return np.stack(found, axis=1) if found else np.empty((len(drawn), 0))


def _estimate(value: float, samples: NDArray[np.float64]) -> Estimate:
    tail = (1 - _LEVEL) / 2
    low, high = np.quantile(samples, [tail, 1 - tail]).tolist()
    return Estimate(value, min(low, value), max(high, value), _LEVEL)
