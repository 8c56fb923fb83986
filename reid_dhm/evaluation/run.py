"""What is said of a set of embeddings: the ranking asked for, intervals, thresholds, cameras.

:mod:`reid_dhm.retrieval` computes each of them; this puts them together in the order in which
they depend on each other, for the command line and the reports.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from reid_dhm.errors import InputError
from reid_dhm.evaluation.calibration import (
    Calibration,
    OperatingPoint,
    PairScores,
    pair_scores,
)
from reid_dhm.evaluation.cameras import CameraPairs, camera_pairs
from reid_dhm.evaluation.confidence import Estimate, intervals, paired_differences
from reid_dhm.retrieval import EmbeddingSet, RetrievalResult, evaluate
from reid_dhm.retrieval.distance_rows import evaluate_rows
from reid_dhm.retrieval.expansion import augment_gallery, expand_queries
from reid_dhm.retrieval.pooling import pool_queries
from reid_dhm.retrieval.rerank import Reranking, rerank
from reid_dhm.retrieval.single_shot import evaluate_single_shot


@dataclass(frozen=True)
class Settings:
    """How embeddings are ranked.

    Attributes:
        metric, camera_rule, ap: see :class:`~reid_dhm.retrieval.Protocol`.
        single_shot: number of draws of one gallery image per person (CUHK03 classic); 0 ranks
            the whole gallery.
        multi_query: ``mean`` or ``max`` pools the queries of one person and camera.
        query_expansion, database_augmentation: neighbours averaged into every query and gallery
            embedding; 0 leaves them as they are.
        alpha: exponent of the similarity by which neighbours are weighted.
        rerank: k-reciprocal re-ranking, or None.
        top_k: length of the ranked lists.
        seed: of draws and intervals.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        InputError: for settings that exclude each other.
    """

    metric: str = "cosine"
    camera_rule: bool = True
    ap: str = "standard"
    single_shot: int = 0
    multi_query: str | None = None
    query_expansion: int = 0
    database_augmentation: int = 0
    alpha: float = 3.0
    rerank: Reranking | None = None
    top_k: int = 10
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise InputError(f"seed is {self.seed}; give 0 or more")
        if self.single_shot and self.rerank:
            raise InputError("re-ranking needs the whole gallery: leave single-shot out")
        if self.single_shot and self.ap != "standard":
            raise InputError(
                f"ap is {self.ap}, but single-shot has one correct image: leave one of them out"
            )

    @property
    def changes_embeddings(self) -> bool:
        """Whether what is compared is not one image's embedding as the model gives it."""
        return bool(self.multi_query or self.query_expansion or self.database_augmentation)

    @property
    def calibrates_search(self) -> bool:
        """Whether pairs are scored as a gallery search scores them, between cameras."""
        return self.metric == "cosine" and self.camera_rule and not self.changes_embeddings


@dataclass(frozen=True, eq=False)
class Measured:
    """Whether two images are of one person, as far as their score tells.

    Attributes:
        pairs: scores of the pairs of one person and of two.
        points: thresholds.
        calibration: match probability.
    """

    pairs: PairScores
    points: list[OperatingPoint]
    calibration: Calibration


@dataclass(frozen=True, eq=False)
class Assessment:
    """The ranking that was asked for, and the sets it was made of.

    Attributes:
        query, gallery: as ranked, after pooling, expansion and augmentation.
        result: before re-ranking.
        intervals: of ``result``, by figure: ``mAP``, ``mINP``, ``rank1``.
        reranked, reranked_intervals: the same after re-ranking, None where it was not asked for.
        seconds: of each stage that was run.
    """

    settings: Settings
    query: EmbeddingSet
    gallery: EmbeddingSet
    result: RetrievalResult
    intervals: dict[str, Estimate]
    reranked: RetrievalResult | None = None
    reranked_intervals: dict[str, Estimate] | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def final(self) -> RetrievalResult:
        """The result after everything that was asked for."""
        return self.reranked or self.result

    @property
    def final_intervals(self) -> dict[str, Estimate]:
        """The intervals of :attr:`final`."""
        return self.reranked_intervals or self.intervals

    def measure(self) -> Measured:
        """Scores of pairs, before re-ranking, with the thresholds that follow from them."""
        settings = self.settings
        pairs = pair_scores(
            self.query,
            self.gallery,
            metric=settings.metric,
            camera_rule=settings.camera_rule,
            device=settings.device,
        )
        return Measured(pairs, pairs.operating_points(), pairs.calibrate())

    def cameras(self) -> CameraPairs:
        """Figures of every pair of cameras, before re-ranking."""
        settings = self.settings
        return camera_pairs(
            self.query,
            self.gallery,
            metric=settings.metric,
            camera_rule=settings.camera_rule,
            ap=settings.ap,
            device=settings.device,
        )


def assess(query: EmbeddingSet, gallery: EmbeddingSet, settings: Settings) -> Assessment:
    """Rank as asked.

    Raises:
        InputError: if the sets cannot be ranked so.
    """
    seconds: dict[str, float] = {}
    settings = replace(settings, top_k=min(settings.top_k, len(gallery)))
    if settings.multi_query:
        query = pool_queries(query, settings.multi_query, settings.metric)
    if settings.query_expansion or settings.database_augmentation:
        with _timed(seconds, "expand"):
            query, gallery = _expanded(query, gallery, settings)
    result = _ranked(query, gallery, settings)
    seconds |= result.seconds
    estimates = intervals(result, query.pids, seed=settings.seed)
    if settings.rerank is None:
        return Assessment(settings, query, gallery, result, estimates, seconds=seconds)
    with _timed(seconds, "rerank"):
        rows = rerank(
            query.embeddings,
            gallery.embeddings,
            metric=settings.metric,
            settings=settings.rerank,
            device=settings.device,
        )
        reranked = evaluate_rows(
            rows.rows, query, gallery, result.protocol, ranks=result.ranks, top_k=settings.top_k
        )
    return Assessment(
        settings,
        query,
        gallery,
        result,
        estimates,
        replace(reranked, device=result.device),
        intervals(reranked, query.pids, seed=settings.seed),
        seconds,
    )


def differences(
    model: tuple[str, Assessment], reference: tuple[str, Assessment]
) -> dict[str, Estimate]:
    """``mAP``, ``mINP`` and ``rank1`` of a model less those of a reference, with intervals.

    Args:
        model, reference: a name and an assessment each, on the same queries and gallery.

    Raises:
        InputError: if they were not asked the same.
    """
    (name, ours), (other, theirs) = model, reference
    for side in ("query", "gallery"):
        mine, yours = getattr(ours, side), getattr(theirs, side)
        same = np.array_equal(mine.pids, yours.pids) and np.array_equal(mine.camids, yours.camids)
        if not same or (mine.paths and yours.paths and mine.paths != yours.paths):
            raise InputError(
                f"{name} and {other} have different {side} images; evaluate both on the same "
                "data, in the same order"
            )
    return paired_differences(ours.final, theirs.final, ours.query.pids, seed=ours.settings.seed)


def _expanded(
    query: EmbeddingSet, gallery: EmbeddingSet, settings: Settings
) -> tuple[EmbeddingSet, EmbeddingSet]:
    """Gallery first, so that queries are expanded by what they will be compared with."""
    options: dict[str, Any] = {
        "alpha": settings.alpha,
        "metric": settings.metric,
        "device": settings.device,
    }
    if settings.database_augmentation:
        gallery = augment_gallery(gallery, k=settings.database_augmentation, **options)
    if settings.query_expansion:
        query = expand_queries(query, gallery, k=settings.query_expansion, **options)
    return query, gallery


def _ranked(query: EmbeddingSet, gallery: EmbeddingSet, settings: Settings) -> RetrievalResult:
    options: dict[str, Any] = {
        "metric": settings.metric,
        "camera_rule": settings.camera_rule,
        "top_k": settings.top_k,
        "device": settings.device,
    }
    if settings.single_shot:
        return evaluate_single_shot(
            query, gallery, repeats=settings.single_shot, seed=settings.seed, **options
        )
    return evaluate(query, gallery, ap=settings.ap, **options)


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    seconds[stage] = time.perf_counter() - start
