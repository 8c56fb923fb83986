"""The result of a ranking: figures, per-query values and ranked lists."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from reid_dhm.retrieval import metrics
from reid_dhm.retrieval.protocol import Protocol


@dataclass(frozen=True, eq=False)
class RetrievalResult:
    """Per-query results and ranked lists, without a distance matrix.

    Attributes:
        protocol: the definitions used.
        num_gallery: G, the number of gallery images.
        average_precision: (Q,) float64 in (0, 1], averaged over draws of the gallery; NaN where not
            ``valid``.
        inverse_negative_penalty: (Q,) float64 likewise.
        first_rank: (Q,) int64, or (R, Q) for R draws of the gallery: 1-based rank of the first
            correct image; 0 where not ``valid``.
        topk_indices: (Q, k) int64 gallery rows, best first, without the images that the camera
            rule ignores; -1 where fewer than k remain.
        topk_scores: (Q, k) float64, cosine similarity, or minus the Euclidean or any given distance
            (higher is closer); -inf where fewer than k remain.
        ranks: the k for which :attr:`cmc` is given.
        index: what made the lists: a FAISS index, or the source of the distances.
        device: of the index.
        seconds: ``rank`` (arrays to CMC, AP and mINP, matrix product included) and ``search``
            (index and lists), or ``rerank`` for given distances.

    Raises:
        ValueError: if lengths disagree.
    """

    protocol: Protocol
    num_gallery: int
    average_precision: NDArray[np.float64]
    inverse_negative_penalty: NDArray[np.float64]
    first_rank: NDArray[np.int64]
    topk_indices: NDArray[np.int64]
    topk_scores: NDArray[np.float64]
    ranks: tuple[int, ...]
    index: str
    device: str
    seconds: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("inverse_negative_penalty", "topk_indices", "topk_scores"):
            if len(getattr(self, name)) != len(self.average_precision):
                raise ValueError(f"{name} and average_precision differ in length")
        if self.first_rank.shape[-1] != len(self.average_precision):
            raise ValueError("first_rank and average_precision differ in length")
        if self.topk_indices.shape != self.topk_scores.shape:
            raise ValueError("topk_indices and topk_scores differ in shape")

    @property
    def valid(self) -> NDArray[np.bool_]:
        """(Q,) bool, queries that have a correct gallery image; only they count."""
        return np.atleast_2d(self.first_rank)[0] > 0

    def matched_within(self, k: int) -> NDArray[np.float64]:
        """(Q,) share of draws with a correct image within rank k; 0 or 1 without draws.

        NaN where not ``valid``.
        """
        share = (np.atleast_2d(self.first_rank) <= k).mean(axis=0)
        return np.where(self.valid, share, np.nan)

    @property
    def cmc(self) -> dict[int, float]:
        """CMC@k for every k of ``ranks``, between 0 and 1."""
        return metrics.cumulative_match(self.first_rank, self.ranks)

    @property
    def mAP(self) -> float:
        """Mean average precision over the valid queries."""
        return float(self.average_precision[self.valid].mean())

    @property
    def mINP(self) -> float:
        """Mean inverse negative penalty over the valid queries."""
        return float(self.inverse_negative_penalty[self.valid].mean())

    def summary(self) -> dict[str, object]:
        """The figures as plain numbers, under the names that ``reid-dhm eval --json`` writes."""
        return {
            "mAP": self.mAP,
            "mINP": self.mINP,
            "cmc": {str(k): value for k, value in self.cmc.items()},
            "num_queries": len(self.average_precision),
            "num_valid_queries": int(self.valid.sum()),
            "num_gallery": self.num_gallery,
            "index": self.index,
            "device": self.device,
            "seconds": dict(self.seconds),
        }
