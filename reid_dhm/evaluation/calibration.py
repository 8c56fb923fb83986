"""Thresholds and match probabilities: what a score means."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold: pairs that score at least this much are taken for one person.

    Attributes:
        asked: the false-positive rate that must not be exceeded.
        threshold: the lowest score on the grid that does not exceed it.
        false_positive_rate: share of different-person pairs at or above the threshold.
        true_positive_rate: share of same-person pairs at or above it.
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
        prior: probability that a pair shows one person before its score is known.
    """

    slope: float
    intercept: float
    prior: float

    def probability(self, scores: NDArray[np.floating] | float) -> NDArray[np.float64]:
        """Probability that a pair with each score shows one person; the shape of ``scores``."""
        odds = self.slope * np.asarray(scores, dtype=np.float64) + self.intercept
        return np.exp(-np.logaddexp(0, -odds))

    def with_prior(self, prior: float) -> Calibration:
        """The same evidence with another prior probability (Bayes' rule).

        Args:
            prior: probability that a pair shows one person before its score is known, between 0
                and 1, both excluded.
        """
        return Calibration(
            self.slope, self.intercept + log_odds(prior) - log_odds(self.prior), prior
        )


def threshold_text(threshold: float, metric: str) -> str:
    """A threshold to four decimals, rounded so that no further pair passes.

    Args:
        threshold: a score; under ``euclidean`` its distance is written.
        metric: ``cosine`` or ``euclidean``.
    """
    rounded = math.ceil(threshold * 10_000) / 10_000
    return f"{rounded if metric == 'cosine' else abs(rounded):.4f}"


def log_odds(probability: float) -> float:
    """log(p / (1 - p)) of a probability between 0 and 1, both excluded."""
    return math.log(probability) - math.log1p(-probability)
