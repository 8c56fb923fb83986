"""Which queries, people and cameras an overview shows, chosen from results that others computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reid_dhm.errors import InputError
from reid_dhm.evaluation.cameras import CameraPairs
from reid_dhm.evaluation.run import EvaluationRun
from reid_dhm.retrieval.embeddings import EmbeddingSet
from reid_dhm.retrieval.results import RetrievalResult

_FEW = 10  # a camera pair with fewer queries is called the worst only where all have so few

Rows = NDArray[np.int64]


def right_answers(
    result: RetrievalResult, query: EmbeddingSet, gallery: EmbeddingSet
) -> NDArray[np.bool_]:
    """(Q, k) whether each listed image shows the query's person."""
    listed = result.topk_indices
    return (gallery.pids[listed] == query.pids[:, None]) & (listed >= 0)


def worst_queries(result: RetrievalResult, pids: Rows, count: int) -> Rows:
    """Counted queries of lowest AP, the worst of each person; earlier queries first in ties."""
    return _extremes(result.average_precision, result.valid, pids, count)


def best_queries(result: RetrievalResult, pids: Rows, count: int) -> Rows:
    """Counted queries of highest AP, the best of each person; earlier queries first in ties."""
    return _extremes(-result.average_precision, result.valid, pids, count)


def random_queries(result: RetrievalResult, count: int, seed: int) -> Rows:
    """Counted queries drawn without replacement, in query order."""
    counted = np.flatnonzero(result.valid)
    drawn = np.random.default_rng(seed).choice(counted, min(count, len(counted)), replace=False)
    return np.sort(drawn)


def _extremes(order: NDArray[np.float64], valid: NDArray[np.bool_], pids: Rows, count: int) -> Rows:
    """Rows of lowest ``order``, one of each person: a list should not show one person only."""
    rows = np.argsort(np.where(valid, order, np.inf), kind="stable")[: valid.sum()]
    _, first = np.unique(pids[rows], return_index=True)
    return rows[np.sort(first)[:count]]


@dataclass(frozen=True)
class Confusion:
    """Two people who are taken for each other.

    Attributes:
        people: their pids, the smaller first.
        asked: how many queries of each are answered at rank 1 by the other.
        queries: those queries, the surest mistake first.
    """

    people: tuple[int, int]
    asked: tuple[int, int]
    queries: tuple[int, ...]

    @property
    def total(self) -> int:
        """Queries of either that are answered by the other."""
        return sum(self.asked)


def confusions(evaluation: EvaluationRun, result: RetrievalResult, count: int) -> list[Confusion]:
    """Pairs of people by the number of queries that the other answers at rank 1.

    Distractors are nobody in particular and are left out. Ties go to the pair with the surest
    mistake, that is the highest score.
    """
    query, gallery = evaluation.query, evaluation.gallery
    top, score = result.topk_indices[:, 0], result.topk_scores[:, 0]
    right = right_answers(result, query, gallery)[:, 0]
    wrong = np.flatnonzero(result.valid & (top >= 0) & ~right & ~evaluation.distractors[top])
    if not len(wrong):
        return []
    wrong = wrong[np.argsort(-score[wrong], kind="stable")]
    people = np.stack([query.pids[wrong], gallery.pids[top[wrong]]], axis=1)
    pairs, surest, pair_of, total = np.unique(
        np.sort(people, axis=1), axis=0, return_index=True, return_inverse=True, return_counts=True
    )
    pair_of = pair_of.ravel()
    found = []
    for pair in np.lexsort((surest, -total))[:count]:
        members = wrong[pair_of == pair]
        small, large = (int(pid) for pid in pairs[pair])
        by_small = int((query.pids[members] == small).sum())
        asked = (by_small, len(members) - by_small)
        found.append(Confusion((small, large), asked, tuple(members.tolist())))
    return found


def worst_camera_pair(cameras: CameraPairs) -> tuple[int, int] | None:
    """Row and column of the lowest rank-1, then the lowest mAP; None where nothing was counted.

    Pairs with fewer than 10 queries are passed over if any has so many.
    """
    counted = np.isfinite(cameras.rank1)
    if not counted.any():
        return None
    many = counted & (cameras.num_queries >= _FEW)
    eligible = many if many.any() else counted
    rank1 = np.where(eligible, cameras.rank1, np.inf).ravel()
    mean_ap = np.where(eligible, cameras.mean_ap, np.inf).ravel()
    row, column = divmod(int(np.lexsort((mean_ap, rank1))[0]), cameras.rank1.shape[1])
    return row, column


@dataclass(frozen=True, eq=False)
class Disagreement:
    """Two models on the same queries.

    Attributes:
        model, reference: places in the list of models.
        won, lost: queries that only the model, or only the reference, answers right at rank 1;
            the widest gap in AP first.
        both, neither: how many both or neither answer right.
    """

    model: int
    reference: int
    won: Rows
    lost: Rows
    both: int
    neither: int


def disagreement(evaluations: Sequence[EvaluationRun], model: int, reference: int) -> Disagreement:
    """Where two of the models part at rank 1, among the queries that both count."""
    ours, theirs = evaluations[model], evaluations[reference]
    # Under draws of the gallery a query is right where more than half of them say so.
    right, their_right = (each.final.matched_within(1) > 0.5 for each in (ours, theirs))
    counted = ours.final.valid & theirs.final.valid
    gap = ours.final.average_precision - theirs.final.average_precision

    def widest(chosen: NDArray[np.bool_], order: NDArray[np.float64]) -> Rows:
        rows = np.flatnonzero(chosen & counted)
        return rows[np.argsort(order[rows], kind="stable")]

    return Disagreement(
        model,
        reference,
        widest(right & ~their_right, -gap),
        widest(their_right & ~right, gap),
        int((counted & right & their_right).sum()),
        int((counted & ~right & ~their_right).sum()),
    )


def map_people(
    evaluation: EvaluationRun, wanted: Sequence[int] | int, confused: Sequence[Confusion], seed: int
) -> list[int]:
    """Pids to draw a map of: those wanted, or so many, the most confused people first.

    Raises:
        InputError: if fewer than one is wanted.
    """
    if not isinstance(wanted, int):
        return list(dict.fromkeys(int(pid) for pid in wanted))
    if wanted < 1:
        raise InputError(f"a map of {wanted} people was asked for; ask for 1 or more")
    searched = set(evaluation.query.pids.tolist())
    both = (pid for pair in confused for pid in pair.people if pid in searched)
    people = list(dict.fromkeys(both))[:wanted]
    others = np.setdiff1d(evaluation.query.pids[evaluation.final.valid], people)
    missing = min(wanted - len(people), len(others))
    drawn = np.random.default_rng(seed).choice(others, missing, replace=False)
    return people + sorted(int(pid) for pid in drawn)
