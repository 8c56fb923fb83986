"""Ranked lists as pages show them, read from evaluation runs and thumbnails."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import PurePath
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from reid_dhm.evaluation.run import EvaluationRun
from reid_dhm.report.scores import DISTANCE, Scores, scores_of
from reid_dhm.report.sections.thumbnails import Thumbnail, Thumbnails
from reid_dhm.retrieval.embeddings import EmbeddingSet
from reid_dhm.retrieval.results import RetrievalResult

Verdict = Literal["correct", "wrong", "distractor"]


@dataclass(frozen=True, slots=True)
class Image:
    """A query or gallery image.

    Attributes:
        row: in its set, from 0.
        pid, camid: its labels.
        person: ``person 7``, or ``distractor``.
        name: file name, None where the evaluation has no paths.
        thumbnail: None where there is no image, or it cannot be read.
        activation: file of its activation map, or None.
    """

    row: int
    pid: int
    camid: int
    person: str
    name: str | None
    thumbnail: Thumbnail | None
    activation: str | None


@dataclass(frozen=True, slots=True)
class Answer:
    """A listed gallery image, with its score as text."""

    verdict: Verdict
    score: str
    image: Image


@dataclass(frozen=True, eq=False)
class Ranking:
    """One result of an evaluation run whose lists are shown.

    Attributes:
        title: distinguishes the lists of a query; empty where there is one only.
        prefix: of its columns in ``per_query.csv``.
        evaluation: the run.
        result: its result before or after re-ranking.
        scores: how scores are written.
    """

    title: str
    prefix: str
    evaluation: EvaluationRun
    result: RetrievalResult
    scores: Scores

    @cached_property
    def verdicts(self) -> NDArray[np.str_]:
        """(Q, k) :data:`Verdict` on each listed image."""
        correct = correct_answers(self.result, self.evaluation)
        distractors = self.evaluation.distractors[self.result.topk_indices]
        return np.where(correct, "correct", np.where(distractors, "distractor", "wrong"))

    @cached_property
    def first_ranks(self) -> NDArray[np.int64] | NDArray[np.float64]:
        """(Q,) rank of the first correct image, the mean over the draws under single-shot."""
        ranks = self.result.first_rank
        return ranks if ranks.ndim == 1 else ranks.mean(axis=0)


def correct_answers(result: RetrievalResult, evaluation: EvaluationRun) -> NDArray[np.bool_]:
    """(Q, k) whether each listed image shows the person of the query."""
    listed = result.topk_indices
    return (evaluation.gallery.pids[listed] == evaluation.query.pids[:, None]) & (listed >= 0)


def rankings_of(evaluation: EvaluationRun) -> list[Ranking]:
    """The ranking of a run, or those before and after re-ranking."""
    scores = scores_of(evaluation.result.protocol.metric)
    if evaluation.reranked is None:
        return [Ranking("", "", evaluation, evaluation.result, scores)]
    return [
        Ranking("before re-ranking", "", evaluation, evaluation.result, scores),
        Ranking("after re-ranking", "reranked_", evaluation, evaluation.reranked, DISTANCE),
    ]


def final_ranking(evaluation: EvaluationRun) -> Ranking:
    """The last ranking of a run, under the name of the model."""
    name = evaluation.name
    return replace(rankings_of(evaluation)[-1], title=name, prefix=f"{name}: ")


class RankedLists:
    """The queries of a report and their lists, which templates read by query row.

    Args:
        query, gallery: of all rankings.
        rankings: in the order in which a query shows them.
        thumbnails: of the images.
    """

    def __init__(
        self,
        query: EmbeddingSet,
        gallery: EmbeddingSet,
        rankings: Sequence[Ranking],
        thumbnails: Thumbnails,
    ) -> None:
        self.query, self.gallery = query, gallery
        self.rankings = rankings
        self.thumbnails = thumbnails

    @property
    def score_names(self) -> str:
        """Names of the scores in the lists."""
        return " or ".join(dict.fromkeys(ranking.scores.name for ranking in self.rankings))

    def query_image(self, row: int) -> Image:
        """The image of a query."""
        return self._image(self.query, row, f"person {self.query.pids[row]}")

    def answers(self, ranking: Ranking, row: int) -> list[Answer]:
        """The listed gallery images of a query, the best first."""
        listed = zip(
            ranking.result.topk_indices[row].tolist(),
            ranking.result.topk_scores[row].tolist(),
            ranking.verdicts[row].tolist(),
            strict=True,
        )
        return [
            Answer(verdict, ranking.scores.text(score), self._gallery_image(index, verdict))
            for index, score, verdict in listed
            if index >= 0
        ]

    def paths(self, rows: Iterable[int]) -> list[str]:
        """Paths of some queries and of all their listed answers."""
        paths: list[str] = []
        for row in rows:
            if self.query.paths is not None:
                paths.append(self.query.paths[row])
            if self.gallery.paths is not None:
                for ranking in self.rankings:
                    listed = ranking.result.topk_indices[row]
                    paths += [self.gallery.paths[index] for index in listed[listed >= 0].tolist()]
        return paths

    def _gallery_image(self, row: int, verdict: Verdict) -> Image:
        person = verdict if verdict == "distractor" else f"person {self.gallery.pids[row]}"
        return self._image(self.gallery, row, person)

    def _image(self, images: EmbeddingSet, row: int, person: str) -> Image:
        path = None if images.paths is None else images.paths[row]
        return Image(
            row,
            int(images.pids[row]),
            int(images.camids[row]),
            person,
            None if path is None else PurePath(path).name,
            None if path is None else self.thumbnails.of.get(path),
            None if path is None else self.thumbnails.maps.get(path),
        )


def thumbnail_names(
    query: EmbeddingSet, gallery: EmbeddingSet, rankings: Iterable[Ranking]
) -> dict[str, str]:
    """Path → name of its thumbnail, for every query and every listed gallery image."""
    names: dict[str, str] = {}
    if query.paths is not None:
        for row, path in enumerate(query.paths):
            names.setdefault(path, f"q{row:05d}")
    if gallery.paths is not None:
        listed = np.unique(np.concatenate([each.result.topk_indices.ravel() for each in rankings]))
        for row in listed[listed >= 0].tolist():
            names.setdefault(gallery.paths[row], f"g{row:05d}")
    return names
