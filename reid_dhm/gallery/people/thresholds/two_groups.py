"""How likely a score means one person, from pairs without labels and pairs of certainly two people.

Unlabelled pairs mix one person's with two people's. Pairs of certainly two people show how the
latter score, so what the mixture has beyond them is one person's (the two-groups model of Efron
2008; here semiparametric, as in Qin 1999: only the probability has a form, the scores have none).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import gamma, gammaincc

from reid_dhm.evaluation.calibration import Calibration

_LIKELY = 20  # pairs that must be likelier of one person than of two
_FITTED, _TAIL = 0.2, 0.1  # shares of the negatives that a tail is fitted to, and replaced by it
_OPTIONS = {"maxiter": 1000, "xatol": 1e-3, "fatol": 1e-10}
_STARTS = (-4.0, -8.0)  # of the fit, in log odds at the mean of two people's scores
# Log of the slope per spread of two people's scores, log odds at their mean, log(1 - prior): at
# that mean hardly a pair is one person's, or differences between the kinds of pairs would do.
_BOUNDS = ((-1.0, 3.0), (-20.0, -2.0), (-2.0, -1e-7))


@dataclass(frozen=True, eq=False)
class TwoGroups:
    """Match probabilities of one kind of pair.

    Attributes:
        calibration: of a score; its prior is the share of unlabelled pairs that are one person's.
        negatives: pairs of certainly two people.
        unlabelled: pairs that may be of one person or of two.
        stated, counted: (B,) float64, over bins of scores: the calibration's probability, and the
            share of unlabelled pairs beyond what two people explain. They agree if the fit is good.
            Of few pairs it may be below 0, so that means over bins are right.
        pairs: (B,) int64 unlabelled pairs of the bins.
    """

    calibration: Calibration
    negatives: int
    unlabelled: int
    stated: NDArray[np.float64]
    counted: NDArray[np.float64]
    pairs: NDArray[np.int64]


def fit_two_groups(
    edges: NDArray[np.float64], negatives: NDArray[np.float64], unlabelled: NDArray[np.float64]
) -> TwoGroups | None:
    """Fit the match probability 1 / (1 + exp(-(slope · score + intercept))).

    With densities f of unlabelled pairs and g of two people's, f / g = (1 - prior) / (1 - p). So
    log(f / g) = c + log(1 + exp(slope · score + intercept)), which a logistic regression that
    tells both kinds of pairs apart finds without any model of f and g.

    Args:
        edges: (B + 1,) ascending edges of bins of scores.
        negatives: (M,) scores of pairs of certainly two people.
        unlabelled: (B,) number of unlabelled pairs in every bin.

    Returns:
        None if scores do not show that any pair is of one person.
    """
    null = _smoothed(edges, negatives)
    total = unlabelled.sum()
    mixture = unlabelled / total
    centres = (edges[:-1] + edges[1:]) / 2
    mean = float(null @ centres)
    spread = float(np.sqrt(null @ (centres - mean) ** 2))
    standard = (centres - mean) / spread

    def loss(parameters: NDArray[np.float64]) -> float:
        log_slope, intercept, constant = parameters
        ratio = constant + np.logaddexp(0, np.exp(log_slope) * standard + intercept)
        return float(mixture @ np.logaddexp(0, -ratio) + null @ np.logaddexp(0, ratio))

    # Without gradients, as LAPACK's threads would wait for each other on such small systems.
    fits = [
        minimize(loss, (1.0, start, -0.05), method="Nelder-Mead", bounds=_BOUNDS, options=_OPTIONS)
        for start in _STARTS
    ]
    log_slope, intercept, constant = min(fits, key=lambda found: float(found.fun)).x
    slope = float(np.exp(log_slope)) / spread
    prior = 1 - float(np.exp(constant))
    calibration = Calibration(slope, float(intercept) - slope * mean, prior)
    stated = calibration.probability(centres)
    if unlabelled[stated >= 0.5].sum() < _LIKELY:
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        counted = 1 - (1 - prior) * null / mixture
    return TwoGroups(
        calibration, len(negatives), int(total), stated, counted, unlabelled.astype(np.int64)
    )


def _smoothed(edges: NDArray[np.float64], negatives: NDArray[np.float64]) -> NDArray[np.float64]:
    """(B,) share of the negatives in every bin; the highest tenth as a fitted tail.

    What counts are scores that few or none of the negatives reach. The tail is that of a
    generalised normal distribution, exp(-(x / scale) ** power) above the median, with a power
    between 1 (exponential) and 2 (normal).
    """
    middle, start = np.quantile(negatives, (0.5, 1 - _FITTED))
    unit = max(float(start - middle), 1e-9)
    high = (negatives[negatives > start] - middle) / unit

    def loss(parameters: NDArray[np.float64]) -> float:
        scale, power = np.exp(parameters[0]), parameters[1]
        beyond = scale / power * gamma(1 / power) * gammaincc(1 / power, scale**-power)
        return float(np.mean((high / scale) ** power) + np.log(max(beyond, 1e-300)))

    bounds = ((-3.0, 3.0), (1.0, 2.0))
    log_scale, power = minimize(loss, (0.0, 1.5), method="Nelder-Mead", bounds=bounds).x
    reach = np.maximum((edges - middle) / unit, 0) / np.exp(log_scale)
    survival = gammaincc(1 / power, reach**power)
    share = np.histogram(negatives, edges)[0] / len(negatives)
    cut = int(np.searchsorted(edges, np.quantile(negatives, 1 - _TAIL), "right"))
    tail = -np.diff(survival)
    tail[:cut] = 0
    left = share[cut:].sum()
    share[cut:] = 0
    share += tail * left / max(float(tail.sum()), 1e-300)
    return np.asarray(share / share.sum(), np.float64)
