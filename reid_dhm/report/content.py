"""How reports write scores and ranks, and the types that their parts share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reid_dhm.errors import InputError
from reid_dhm.evaluation.calibration import threshold_text
from reid_dhm.evaluation.comparison import check_same_images
from reid_dhm.evaluation.confidence import Estimate
from reid_dhm.evaluation.run import EvaluationRun
from reid_dhm.retrieval.results import RetrievalResult

Intervals = Mapping[str, Estimate]
"""``mAP``, ``mINP`` and ``rank1`` with their intervals."""

ActivationMaps = Callable[[Sequence[str]], Sequence[NDArray[np.float32]]]
"""Image paths → one (h, w) float32 map in 0 … 1 for each, of any size."""

Progress = Callable[[int, int], None]
"""Told the images and pages that are done, and all that there are."""


@dataclass(frozen=True)
class Scores:
    """How the scores of a list are called and written; scores are higher where closer."""

    name: str
    sign: int

    def shown(self, score: float) -> float:
        """The similarity or distance that a score stands for."""
        return self.sign * float(score)

    def text(self, score: float) -> str:
        """Three places after the point, four digits for distances of 10 and more."""
        value = self.shown(score)
        return f"{value:.3f}" if abs(value) < 10 else f"{value:.4g}"

    def threshold(self, score: float) -> str:
        """A threshold, rounded so that it lets no more pairs pass."""
        return threshold_text(score, "cosine" if self.sign > 0 else "euclidean")

    @property
    def bound(self) -> str:
        """How a threshold is passed: at least so similar, or at most so far."""
        return "≥" if self.sign > 0 else "≤"


DISTANCE = Scores("distance", -1)


def scores_of(metric: str) -> Scores:
    """How scores under ``cosine`` or ``euclidean`` are shown."""
    return Scores("similarity", 1) if metric == "cosine" else DISTANCE


def first_ranks(result: RetrievalResult) -> NDArray[np.int64] | NDArray[np.float64]:
    """(Q,) rank of each query's first correct image, the mean where the gallery was drawn."""
    ranks = result.first_rank
    return ranks if ranks.ndim == 1 else ranks.mean(axis=0)


def check_same_queries(runs: Sequence[EvaluationRun]) -> None:
    """Refuse models that ranked different images, or have the same name.

    Raises:
        InputError: naming the first model that differs from the first of all.
    """
    if len(runs) < 2:
        raise InputError(f"{len(runs)} model given: a comparison needs two or more")
    first, *others = runs
    names = [run.name for run in runs]
    for number, name in enumerate(names):
        if name in names[:number]:
            raise InputError(f"two models are called {name!r}: give each a different name")
    for other in others:
        check_same_images(other, first)
