"""Ranked lists as templates show them: a query, and one card for each answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal

import numpy as np

from reid_dhm.evaluation.run import EvaluationRun
from reid_dhm.report.content import DISTANCE, Scores, first_ranks, scores_of
from reid_dhm.report.selection import Rows, right_answers
from reid_dhm.report.thumbnails import Thumbnail, Thumbnails
from reid_dhm.retrieval.embeddings import EmbeddingSet
from reid_dhm.retrieval.results import RetrievalResult

Verdict = Literal["right", "wrong", "distractor"]


@dataclass(frozen=True, slots=True)
class Image:
    """An image of a query or of the gallery, and whom it shows.

    Attributes:
        row: in its set, from 0.
        person: ``person 7``, or ``distractor``.
        name: its file's name; None where images are not known.
        thumbnail: None where there is no image, or none that could be read.
        activation: file of its activation map, or None.
    """

    row: int
    pid: int
    person: str
    camid: int
    name: str | None
    thumbnail: Thumbnail | None
    activation: str | None


@dataclass(frozen=True, slots=True)
class Answer:
    """A listed gallery image; ``score`` is text."""

    verdict: Verdict
    score: str
    image: Image


@dataclass(frozen=True, slots=True)
class RankedList:
    """The answers that one model gave, or one stage of it.

    Attributes:
        title: of the model or stage; empty where a query has one list only.
        first: rank of the first right image, the mean where the gallery was drawn; None where
            the query is not counted.
        average_precision: None likewise.
    """

    title: str
    answers: tuple[Answer, ...]
    first: float | None
    average_precision: float | None


@dataclass(frozen=True, slots=True)
class QueryLists:
    """A query and every list of answers to it."""

    query: Image
    lists: tuple[RankedList, ...]


@dataclass(frozen=True, eq=False)
class Ranking:
    """A result that is shown as lists.

    Attributes:
        title: what tells it from the other lists of a query; empty where there is one only.
        key: begins the names of its columns in ``per_query.csv``.
        evaluation: whose it is.
        result: its lists.
        scores: how they are written.
    """

    title: str
    key: str
    evaluation: EvaluationRun
    result: RetrievalResult
    scores: Scores


def rankings_of(evaluation: EvaluationRun) -> list[Ranking]:
    """The result as it is, or before and after re-ranking."""
    plain = scores_of(evaluation.result.protocol.metric)
    if evaluation.reranked is None:
        return [Ranking("", "", evaluation, evaluation.result, plain)]
    return [
        Ranking("before re-ranking", "", evaluation, evaluation.result, plain),
        Ranking("after re-ranking", "reranked_", evaluation, evaluation.reranked, DISTANCE),
    ]


def final_ranking(evaluation: EvaluationRun) -> Ranking:
    """The last result, under the name of the model."""
    last = rankings_of(evaluation)[-1]
    name = evaluation.name
    return Ranking(name, f"{name}: ", evaluation, last.result, last.scores)


class Deck:
    """Makes the cards of a report.

    Args:
        query, gallery: of all rankings alike.
        rankings: in the order in which every query shows them.
        thumbnails: of the images that are shown.
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
        self.verdicts = [_verdicts(ranking) for ranking in rankings]
        self.firsts = [first_ranks(ranking.result) for ranking in rankings]

    @property
    def score_names(self) -> str:
        """How the scores of the lists are called."""
        return " or ".join(dict.fromkeys(ranking.scores.name for ranking in self.rankings))

    def lists(self, row: int) -> QueryLists:
        """A query with all its lists."""
        lists = (self._list(number, row) for number in range(len(self.rankings)))
        asked = self._image(self.query, row, f"person {self.query.pids[row]}")
        return QueryLists(asked, tuple(lists))

    def _list(self, number: int, row: int) -> RankedList:
        ranking = self.rankings[number]
        result, scores = ranking.result, ranking.scores
        listed = zip(
            result.topk_indices[row].tolist(),
            result.topk_scores[row].tolist(),
            self.verdicts[number][row].tolist(),
            strict=True,
        )
        answers = tuple(
            Answer(verdict, scores.text(score), self._answer(index, verdict))
            for index, score, verdict in listed
            if index >= 0
        )
        counted = bool(result.valid[row])
        return RankedList(
            ranking.title,
            answers,
            float(self.firsts[number][row]) if counted else None,
            float(result.average_precision[row]) if counted else None,
        )

    def _answer(self, row: int, verdict: Verdict) -> Image:
        person = verdict if verdict == "distractor" else f"person {self.gallery.pids[row]}"
        return self._image(self.gallery, row, person)

    def _image(self, side: EmbeddingSet, row: int, person: str) -> Image:
        path = None if side.paths is None else side.paths[row]
        return Image(
            row,
            int(side.pids[row]),
            person,
            int(side.camids[row]),
            None if path is None else PurePath(path).name,
            None if path is None else self.thumbnails.of.get(path),
            None if path is None else self.thumbnails.maps.get(path),
        )


def thumbnail_names(
    query: EmbeddingSet, gallery: EmbeddingSet, rankings: Iterable[Ranking]
) -> dict[str, str]:
    """Path → name of its thumbnail: every query, and the gallery images of every list."""
    names: dict[str, str] = {}
    if query.paths is not None:
        for row, path in enumerate(query.paths):
            names.setdefault(path, f"q{row:05d}")
    if gallery.paths is not None:
        listed = np.unique(np.concatenate([each.result.topk_indices.ravel() for each in rankings]))
        for row in listed[listed >= 0].tolist():
            names.setdefault(gallery.paths[row], f"g{row:05d}")
    return names


def listed_paths(deck: Deck, rows: Rows | Sequence[int]) -> list[str]:
    """Paths of some queries and of all their listed answers."""
    paths: list[str] = []
    for row in rows:
        if deck.query.paths is not None:
            paths.append(deck.query.paths[row])
        if deck.gallery.paths is not None:
            for ranking in deck.rankings:
                listed = ranking.result.topk_indices[row]
                paths += [deck.gallery.paths[index] for index in listed[listed >= 0].tolist()]
    return paths


def _verdicts(ranking: Ranking) -> np.ndarray:
    """(Q, k) str: the verdict on each listed image."""
    evaluation, listed = ranking.evaluation, ranking.result.topk_indices
    right = right_answers(ranking.result, evaluation.query, evaluation.gallery)
    wrong = np.where(evaluation.distractors[listed], "distractor", "wrong")
    return np.where(right, "right", wrong)
