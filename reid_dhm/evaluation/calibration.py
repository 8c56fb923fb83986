"""Thresholds and match probabilities: what a score means."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


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

    def probability(self, scores: NDArray[np.floating] | float) -> NDArray[np.float64]:
        """Probability that a pair of each score shows one person, of the shape of ``scores``."""
        odds = self.slope * np.asarray(scores, dtype=np.float64) + self.intercept
        return np.exp(-np.logaddexp(0, -odds))

    def with_prior(self, prior: float) -> Calibration:
        """The same evidence, where one person is likelier or less likely beforehand (Bayes' rule).

        Args:
            prior: probability of one person before the score is known, between 0 and 1, both
                excluded.
        """
        return Calibration(
            self.slope, self.intercept + log_odds(prior) - log_odds(self.prior), prior
        )


def threshold_text(threshold: float, metric: str) -> str:
    """A threshold to four places, rounded so that no pair passes which did not pass before.

    Args:
        threshold: a score; under ``euclidean`` the distance that it stands for is written.
        metric: ``cosine`` or ``euclidean``.
    """
    rounded = math.ceil(threshold * 10_000) / 10_000
    return f"{rounded if metric == 'cosine' else abs(rounded):.4f}"


def log_odds(probability: float) -> float:
    """log(p / (1 - p)) of a probability between 0 and 1, both excluded."""
    return math.log(probability) - math.log1p(-probability)
