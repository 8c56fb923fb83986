"""Score distributions, ROC, thresholds and calibration of same-person and different-person pairs.

A pair is a query and a gallery image that the protocol ranks; the camera rule excludes pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reid_dhm.devices import parse_device
from reid_dhm.errors import InputError
from reid_dhm.evaluation.calibration import Calibration, OperatingPoint, log_odds
from reid_dhm.evaluation.pair_counts import count_pairs
from reid_dhm.retrieval.checks import check_sets, no_match
from reid_dhm.retrieval.embeddings import EmbeddingSet

# Weight of the penalty on the slope relative to the mean log loss. For normal distributions with
# an equal error rate of 0.1 % it changes the slope by 0.05 %; where a threshold separates the two
# kinds of pairs it keeps the slope finite.
_PENALTY = 1e-8


@dataclass(frozen=True, eq=False)
class PairScores:
    """Histogram of the scores of same-person and different-person pairs, on a fine grid.

    Attributes:
        metric: ``cosine`` (scores are similarities) or ``euclidean`` (minus the distances).
        edges: (N + 1,) float64 ascending; counts are exact at these values.
        same: (N,) int64, same-person pairs with a score in [edges[i], edges[i + 1]).
        different: (N,) int64, different-person pairs.
    """

    metric: str
    edges: NDArray[np.float64]
    same: NDArray[np.int64]
    different: NDArray[np.int64]

    @property
    def centres(self) -> NDArray[np.float64]:
        """(N,) centre of each bin."""
        return (self.edges[:-1] + self.edges[1:]) / 2

    @property
    def false_positive_rate(self) -> NDArray[np.float64]:
        """(N + 1,) share of different-person pairs at or above ``edges[i]``, from 1 to 0."""
        return _share_above(self.different)

    @property
    def true_positive_rate(self) -> NDArray[np.float64]:
        """(N + 1,) share of same-person pairs at or above ``edges[i]``, from 1 to 0."""
        return _share_above(self.same)

    def operating_points(self, rates: Sequence[float] = (1e-2, 1e-3, 1e-4)) -> list[OperatingPoint]:
        """The lowest threshold on the grid that exceeds none of the false-positive rates.

        A rate below one pair among all different-person pairs is left out: it cannot be measured.

        Raises:
            InputError: for a rate that is not between 0 and 1.
        """
        false, true = self.false_positive_rate, self.true_positive_rate
        points = []
        for rate in rates:
            if not 0 < rate < 1:
                raise InputError(f"false-positive rate is {rate}: give a number between 0 and 1")
            if self.different.sum() < 1 / rate:
                continue
            at = int(np.argmax(false <= rate))
            points.append(
                OperatingPoint(rate, float(self.edges[at]), float(false[at]), float(true[at]))
            )
        return points

    def roc(self, num: int = 200) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """False- and true-positive rates, ascending, at most ``num`` points even on a log axis.

        They begin at the lowest false-positive rate above 0.
        """
        false, true = self.false_positive_rate, self.true_positive_rate
        wanted = np.geomspace(1 / self.different.sum(), 1, num)
        # For each rate, the lowest threshold that does not exceed it.
        at = np.unique(len(false) - np.searchsorted(false[::-1], wanted, side="right"))[::-1]
        at = at[false[at] > 0]
        return false[at], true[at]

    def histogram(
        self, bins: int = 100
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Densities of same-person and different-person pairs, for drawing.

        Returns:
            edges: (n + 1,) ascending over the scores that occur, n at most ``bins``.
            same, different: (n,) each with an area of 1.

        Raises:
            InputError: if ``bins`` is below 1.
        """
        if bins < 1:
            raise InputError(f"bins is {bins}: give 1 or more")
        held = np.flatnonzero(self.same + self.different)
        at = np.unique(np.linspace(held[0], held[-1] + 1, bins + 1).round().astype(np.int64))
        edges = self.edges[at]
        same, different = (
            np.add.reduceat(counts[: at[-1]], at[:-1]) / counts.sum() / np.diff(edges)
            for counts in (self.same, self.different)
        )
        return edges, same, different

    def calibrate(self, prior: float = 0.5) -> Calibration:
        """Fit the probability that a pair shows one person, by logistic regression on its score.

        Same-person pairs are weighted to a total of ``prior`` and the others to the rest (Platt
        1999, with the weights of King and Zeng 2001). A weak penalty on the slope, in units of
        the spread of the scores, keeps it finite where a threshold separates the two.

        Args:
            prior: probability that a pair shows one person before its score is known, between 0
                and 1.

        Raises:
            InputError: if ``prior`` is out of range.
        """
        from scipy.optimize import minimize  # half a second to import, and rarely needed
        from scipy.special import expit

        if not 0 < prior < 1:
            raise InputError(f"prior is {prior}: give a probability between 0 and 1, such as 0.5")
        held, weight = self._weighted(prior)
        sign = np.array([[1.0], [-1.0]])  # same person, different people
        middle = float(weight.sum(0) @ held)
        spread = float(np.sqrt(weight.sum(0) @ (held - middle) ** 2)) or 1.0
        score = (held - middle) / spread

        def loss(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            slope, intercept = parameters
            margin = sign * (slope * score + intercept)
            pull = -sign * weight * expit(-margin)
            value = (weight * np.logaddexp(0, -margin)).sum() + _PENALTY / 2 * slope**2
            return value, np.array([(pull * score).sum() + _PENALTY * slope, pull.sum()])

        start = np.array([0.0, log_odds(prior)])
        slope, intercept = minimize(loss, start, jac=True, options={"gtol": 1e-10}).x.tolist()
        return Calibration(slope / spread, intercept - slope * middle / spread, prior)

    def _weighted(self, prior: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Scores (n,) of non-empty bins, and the weights (2, n) of both kinds of pairs there."""
        held = (self.same + self.different) > 0
        same = prior * self.same[held] / self.same.sum()
        different = (1 - prior) * self.different[held] / self.different.sum()
        return self.centres[held], np.stack([same, different])


def pair_scores(
    query: EmbeddingSet,
    gallery: EmbeddingSet,
    *,
    metric: str = "cosine",
    camera_rule: bool = True,
    device: str = "auto",
) -> PairScores:
    """Count all pairs of a query and a gallery image by their exact scores.

    A pair shows one person if the pids are equal, so a distractor (pid 0) matches no query. The
    counts do not depend on block size, threads or device.

    Args:
        query, gallery, metric, camera_rule, device: as for :func:`.rank_gallery`.

    Raises:
        InputError: sets that cannot be compared, no same-person pair, or no different-person pair.
    """
    check_sets(query, gallery)
    counts = count_pairs(query, gallery, metric, camera_rule, parse_device(device))
    scores = PairScores(metric, *counts)
    if not scores.same.any():
        raise InputError(no_match(query, gallery, camera_rule))
    if not scores.different.any():
        raise InputError(
            "all query and gallery images show one person: thresholds need images of several people"
        )
    return scores


def _share_above(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """(N + 1,) share of the pairs in bin i or above."""
    above = np.concatenate([np.cumsum(counts[::-1])[::-1], [0]])
    return above / above[0]
