"""What a report is made from: figures and lists that others computed, and what to call them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reid_dhm.errors import InputError
from reid_dhm.evaluation.calibration import (
    Calibration,
    OperatingPoint,
    PairScores,
    threshold_text,
)
from reid_dhm.evaluation.cameras import CameraPairs
from reid_dhm.evaluation.confidence import Estimate
from reid_dhm.retrieval import EmbeddingSet, RetrievalResult

Intervals = Mapping[str, Estimate]
"""``mAP``, ``mINP`` and ``rank1`` with their intervals."""

ActivationMaps = Callable[[Sequence[str]], Sequence[NDArray[np.float32]]]
"""Image paths → one (h, w) float32 map in 0 … 1 for each, of any size."""

Progress = Callable[[int, int], None]
"""Told the images and pages that are done, and all that there are."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """One model on one set of queries.

    Attributes:
        name: of the model or run, shown on every page.
        query, gallery: as ranked; without ``paths`` the report shows row numbers for images.
        result: before re-ranking; its lists are shown of every query, and its ``ranks`` hold 1.
        intervals: of ``result``.
        pairs: scores of pairs of one person and of two.
        cameras: figures of every pair of cameras.
        points: thresholds, in the order in which they are shown.
        calibration: match probability, where it was fitted.
        facts: heading → name → value, shown as they are: protocol, data, model, configuration,
            versions, time.
        figures: what ``--json`` writes; they open ``results.json``.
        reranked, reranked_intervals: the same queries after re-ranking.
        activation: asked once, for the images of the overview's lists.
    """

    name: str
    query: EmbeddingSet
    gallery: EmbeddingSet
    result: RetrievalResult
    intervals: Intervals
    pairs: PairScores
    cameras: CameraPairs
    points: Sequence[OperatingPoint]
    calibration: Calibration | None = None
    facts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    figures: Mapping[str, Any] = field(default_factory=dict)
    reranked: RetrievalResult | None = None
    reranked_intervals: Intervals | None = None
    activation: ActivationMaps | None = None

    @property
    def final(self) -> RetrievalResult:
        """The result after everything that was asked for."""
        return self.reranked or self.result

    @property
    def final_intervals(self) -> Intervals:
        """The intervals of :attr:`final`."""
        return self.reranked_intervals or self.intervals

    @property
    def distractors(self) -> NDArray[np.bool_]:
        """(G,) gallery images of nobody who is searched for: pid 0, where no query has it."""
        if (self.query.pids == 0).any():
            return np.zeros(len(self.gallery), dtype=np.bool_)
        return self.gallery.pids == 0


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


def check_same_queries(evaluations: Sequence[Evaluation]) -> None:
    """Refuse models that were not asked the same, or cannot be told apart.

    Raises:
        InputError: naming the first model that differs from the first of all.
    """
    if len(evaluations) < 2:
        raise InputError(f"{len(evaluations)} model given; a comparison needs two or more")
    first, *others = evaluations
    names = [evaluation.name for evaluation in evaluations]
    for number, name in enumerate(names):
        if name in names[:number]:
            raise InputError(f"two models are called {name!r}; give each a name of its own")
    for other in others:
        for side in ("query", "gallery"):
            ours, theirs = getattr(first, side), getattr(other, side)
            same_ids = np.array_equal(ours.pids, theirs.pids) and np.array_equal(
                ours.camids, theirs.camids
            )
            if not same_ids or (ours.paths and theirs.paths and ours.paths != theirs.paths):
                raise InputError(
                    f"{other.name} and {first.name} have different {side} images; evaluate both "
                    "on the same data, in the same order"
                )
