"""Run an evaluation: rank, re-rank, bootstrap intervals, and statistics of pairs and cameras."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from reid_dhm.evaluation import metadata
from reid_dhm.evaluation.calibration import Calibration, OperatingPoint
from reid_dhm.evaluation.cameras import CameraPairs, camera_pairs
from reid_dhm.evaluation.confidence import Estimate, intervals
from reid_dhm.evaluation.inputs import QueryGallery, embed_samples
from reid_dhm.evaluation.pair_scores import PairScores, pair_scores
from reid_dhm.evaluation.settings import Settings
from reid_dhm.retrieval.embeddings import EmbeddingSet, is_distractor
from reid_dhm.retrieval.protocol import Reranking
from reid_dhm.retrieval.ranking.whole_gallery import rank_gallery
from reid_dhm.retrieval.results import RetrievalResult

if TYPE_CHECKING:
    from reid_dhm.data.samples import ReIDDataset
    from reid_dhm.inference.embedder import Embedder


@dataclass(frozen=True, eq=False)
class PairStatistics:
    """How well the score of a pair tells whether it shows one person.

    Attributes:
        scores: counts of same-person and different-person pairs by score.
        points: a threshold for each false-positive rate of :attr:`Settings.rates`; rates too fine
            for the number of pairs are left out.
        calibration: match probability of a score.
    """

    scores: PairScores
    points: tuple[OperatingPoint, ...]
    calibration: Calibration


@dataclass(frozen=True, eq=False)
class EvaluationRun:
    """One evaluation: what was ranked, how, and every result.

    Attributes:
        inputs: query and gallery as ranked, after pooling, expansion and augmentation.
        settings: how they were ranked.
        result: before re-ranking.
        intervals: of ``result``: ``mAP``, ``mINP`` and ``rank1``.
        reranked, reranked_intervals: the same after re-ranking, None without re-ranking.
        seconds: of each stage that was run.
    """

    inputs: QueryGallery
    settings: Settings
    result: RetrievalResult
    intervals: Mapping[str, Estimate]
    reranked: RetrievalResult | None = None
    reranked_intervals: Mapping[str, Estimate] | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the model or file."""
        return self.inputs.name

    @property
    def query(self) -> EmbeddingSet:
        """The queries as ranked."""
        return self.inputs.query

    @property
    def gallery(self) -> EmbeddingSet:
        """The gallery as ranked."""
        return self.inputs.gallery

    @property
    def distractors(self) -> NDArray[np.bool_]:
        """(G,) bool, gallery images of nobody in the query set."""
        return is_distractor(self.query, self.gallery)

    @property
    def final(self) -> RetrievalResult:
        """The result after re-ranking, if there was any."""
        return self.reranked or self.result

    @property
    def final_intervals(self) -> Mapping[str, Estimate]:
        """The intervals of :attr:`final`."""
        return self.reranked_intervals or self.intervals

    @cached_property
    def pairs(self) -> PairStatistics:
        """Scores of all pairs, thresholds and calibration, before re-ranking.

        Raises:
            InputError: if all pairs show one person, or all show two.
        """
        settings = self.settings
        scores = pair_scores(
            self.query,
            self.gallery,
            metric=settings.metric,
            camera_rule=settings.camera_rule,
            device=settings.device,
        )
        points = scores.operating_points(settings.rates)
        return PairStatistics(scores, tuple(points), scores.calibrate())

    @cached_property
    def cameras(self) -> CameraPairs:
        """Rank-1 and mAP of every pair of cameras, before re-ranking."""
        settings = self.settings
        return camera_pairs(
            self.query,
            self.gallery,
            metric=settings.metric,
            camera_rule=settings.camera_rule,
            ap=settings.ap,
            device=settings.device,
        )

    @cached_property
    def facts(self) -> dict[str, metadata.Facts]:
        """Report metadata: heading → name → value."""
        inputs, valid = self.inputs, int(self.result.valid.sum())
        sections = {
            "Protocol": metadata.protocol_facts(self.settings),
            "Data": metadata.data_facts(
                inputs.data, inputs.query, inputs.gallery, inputs.num_dropped, valid
            ),
            "Model": inputs.model,
            "Time": metadata.time_facts(self.stage_seconds),
            "Software": metadata.software_facts(),
            "Configuration": inputs.configuration,
        }
        return {heading: section for heading, section in sections.items() if section}

    @property
    def stage_seconds(self) -> dict[str, float | None]:
        """Seconds of every stage, None where it was not run."""
        contract = {name: self.seconds.get(name) for name in ("rank", "search", "rerank")}
        return {"embed": self.inputs.seconds, **contract, **self.seconds}

    def figures(self) -> dict[str, Any]:
        """What ``reid-dhm eval --json`` writes: the figures of :attr:`final`.

        After re-ranking, ``before_rerank`` holds the figures before it.
        """
        figures = {
            **self.final.summary(),
            "num_dropped": self.inputs.num_dropped,
            "intervals": _bounds(self.final_intervals),
            "seconds": self.stage_seconds,
        }
        if self.reranked is not None:
            before = self.result.summary()
            kept = {name: before[name] for name in ("mAP", "mINP", "cmc", "index", "device")}
            figures["before_rerank"] = {**kept, "intervals": _bounds(self.intervals)}
        return figures


def run(inputs: QueryGallery, settings: Settings) -> EvaluationRun:
    """Rank the gallery for every query as ``settings`` say.

    Raises:
        InputError: if the sets cannot be ranked so, or no query has a correct gallery image.
    """
    seconds: dict[str, float] = {}
    query, gallery = inputs.query, inputs.gallery
    settings = replace(settings, top_k=min(settings.top_k, len(gallery)))
    if settings.multi_query:
        from reid_dhm.retrieval.refinement.pooling import pool_queries

        query = pool_queries(query, settings.multi_query, settings.metric)
    if settings.query_expansion or settings.database_augmentation:
        with _timed(seconds, "expand"):
            query, gallery = _expanded(query, gallery, settings)
    result = _ranked(query, gallery, settings)
    seconds |= result.seconds
    estimates = intervals(result, query.pids, seed=settings.seed)
    ranked = replace(inputs, query=query, gallery=gallery)
    ended = EvaluationRun(ranked, settings, result, estimates, seconds=seconds)
    return _reranked(ended, settings.rerank) if settings.rerank else ended


def _reranked(run: EvaluationRun, rerank: Reranking) -> EvaluationRun:
    """The run with its result after re-ranking."""
    from reid_dhm.retrieval.ranking.distance_rows import rank_rows
    from reid_dhm.retrieval.refinement import reranking

    query, gallery, settings, seconds = run.query, run.gallery, run.settings, dict(run.seconds)
    with _timed(seconds, "rerank"):
        distances = reranking.rerank(
            query.embeddings,
            gallery.embeddings,
            metric=settings.metric,
            settings=rerank,
            device=settings.device,
        )
        result = rank_rows(
            distances.rows,
            query,
            gallery,
            run.result.protocol,
            ranks=run.result.ranks,
            top_k=settings.top_k,
        )
    return replace(
        run,
        reranked=replace(result, device=run.result.device),
        reranked_intervals=intervals(result, query.pids, seed=settings.seed),
        seconds=seconds,
    )


def evaluate_dataset(
    embedder: Embedder, dataset: ReIDDataset, *, metric: str = "cosine", camera_rule: bool = True
) -> RetrievalResult:
    """Embed query and gallery of a dataset and rank them, without intervals.

    For ``euclidean`` the Embedder must not normalise.
    """
    query = embed_samples(embedder, dataset.query)
    gallery = embed_samples(embedder, dataset.gallery)
    return rank_gallery(
        query, gallery, metric=metric, camera_rule=camera_rule, device=embedder.device
    )


def _expanded(
    query: EmbeddingSet, gallery: EmbeddingSet, settings: Settings
) -> tuple[EmbeddingSet, EmbeddingSet]:
    """Gallery first, so that queries are expanded by the embeddings they are compared with."""
    from reid_dhm.retrieval.refinement.expansion import augment_gallery, expand_queries

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
        from reid_dhm.retrieval.ranking.single_shot import rank_single_shot

        return rank_single_shot(
            query, gallery, repeats=settings.single_shot, seed=settings.seed, **options
        )
    return rank_gallery(query, gallery, ap=settings.ap, **options)


def _bounds(intervals: Mapping[str, Estimate]) -> dict[str, list[float]]:
    return {name: [estimate.low, estimate.high] for name, estimate in intervals.items()}


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    seconds[stage] = time.perf_counter() - start
