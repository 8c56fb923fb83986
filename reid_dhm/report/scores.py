"""How reports name and write scores and headline figures."""

from __future__ import annotations

from dataclasses import dataclass

from reid_dhm.evaluation.calibration import threshold_text
from reid_dhm.retrieval.results import RetrievalResult

HEADLINE = {"mAP": "mAP", "rank1": "rank-1", "mINP": "mINP"}
"""The headline figures: key → label."""


def headline(result: RetrievalResult) -> dict[str, float]:
    """The figures of :data:`HEADLINE`, between 0 and 1."""
    return {"mAP": result.mAP, "rank1": result.cmc[1], "mINP": result.mINP}


@dataclass(frozen=True)
class Scores:
    """Name and format of the scores of a list; stored scores are higher where closer."""

    name: str
    sign: int

    def shown(self, score: float) -> float:
        """The similarity or distance of a stored score."""
        return self.sign * float(score)

    def text(self, score: float) -> str:
        """Three decimals, or four digits for distances of 10 and more."""
        value = self.shown(score)
        return f"{value:.3f}" if abs(value) < 10 else f"{value:.4g}"

    def threshold(self, score: float) -> str:
        """A threshold, rounded so that no further pair passes."""
        return threshold_text(score, "cosine" if self.sign > 0 else "euclidean")

    @property
    def bound(self) -> str:
        """The sign of a threshold: ``≥`` for similarities, ``≤`` for distances."""
        return "≥" if self.sign > 0 else "≤"


DISTANCE = Scores("distance", -1)


def scores_of(metric: str) -> Scores:
    """The scores of ``cosine`` or ``euclidean``."""
    return Scores("similarity", 1) if metric == "cosine" else DISTANCE
