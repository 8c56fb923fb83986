"""Are two pictures of one person? Score distributions, ROC, thresholds, and match probability.

A pair is a query and a gallery picture that the protocol ranks (the camera rule leaves pairs out).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class PairScores:
    """How many pairs of one person and of two score how much, on a fine grid.

    Attributes:
        metric: ``cosine`` (scores are similarities) or ``euclidean`` (minus the distances).
        edges: (N + 1,) float64 ascending grid; pair counts are exact at its values.
        same: (N,) int64 pairs of one person with a score in [edges[i], edges[i + 1]).
        different: (N,) int64 pairs of two people.
    """

    metric: str
    edges: NDArray[np.float64]
    same: NDArray[np.int64]
    different: NDArray[np.int64]


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold: pairs that score at least so much are taken for one person.

    Attributes:
        asked: the false-positive rate that was not to be exceeded.
        threshold: the lowest score on the grid that does not.
        false_positive_rate: share of the pairs of two people at or above the threshold.
        true_positive_rate: share of the pairs of one person at or above it.
    """

    asked: float
    threshold: float
    false_positive_rate: float
    true_positive_rate: float


@dataclass(frozen=True)
class Calibration:
    """Match probability of a score: 1 / (1 + exp(-(slope · score + intercept))).

    Attributes:
        slope, intercept: fitted by logistic regression on the pairs.
        prior: probability of one person that a pair was given before its score was known.
    """

    slope: float
    intercept: float
    prior: float
