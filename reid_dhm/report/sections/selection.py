"""Selects the queries, people and cameras that an overview shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reid_dhm.errors import InputError
from reid_dhm.evaluation.cameras import CameraPairs
from reid_dhm.evaluation.run import EvaluationRun
from reid_dhm.report.sections.ranked_lists import correct_answers
from reid_dhm.retrieval.results import RetrievalResult

_FEW = 10  # a camera pair with fewer queries is the worst only if all pairs have so few

Rows = NDArray[np.int64]


def worst_queries(result: RetrievalResult, pids: Rows, count: int) -> Rows:
    """Valid queries of lowest AP, one of each person; earlier queries first in ties."""
    return _extremes(result.average_precision, result.valid, pids, count)


def best_queries(result: RetrievalResult, pids: Rows, count: int) -> Rows:
    """Valid queries of highest AP, one of each person; earlier queries first in ties."""
    return _extremes(-result.average_precision, result.valid, pids, count)


def random_queries(result: RetrievalResult, count: int, seed: int) -> Rows:
    """Valid queries drawn without replacement, in query order."""
    counted = np.flatnonzero(result.valid)
    drawn = np.random.default_rng(seed).choice(counted, min(count, len(counted)), replace=False)
    return np.sort(drawn)


def _extremes(order: NDArray[np.float64], valid: NDArray[np.bool_], pids: Rows, count: int) -> Rows:
    """Rows of lowest ``order``, one of each person so that a list shows several people."""
    rows = np.argsort(np.where(valid, order, np.inf), kind="stable")[: valid.sum()]
    _, first = np.unique(pids[rows], return_index=True)
    return rows[np.sort(first)[:count]]


@dataclass(frozen=True)
class Confusion:
    """Two people who are confused with each other.

    Attributes:
        people: their pids, the smaller first.
        asked: for each, the number of their queries in which the other ranks first.
        queries: those queries, the mistake of highest score first.
    """

    people: tuple[int, int]
    asked: tuple[int, int]
    queries: tuple[int, ...]

    @property
    def total(self) -> int:
        """Queries for either in which the other ranks first."""
        return sum(self.asked)


def confusions(evaluation: EvaluationRun, result: RetrievalResult, count: int) -> list[Confusion]:
    """Pairs of people by the number of queries for one in which the other ranks first.

    Distractors are left out. In ties the pair with the mistake of highest score comes first.
    """
    query, gallery = evaluation.query, evaluation.gallery
    top, score = result.topk_indices[:, 0], result.topk_scores[:, 0]
    correct = correct_answers(result, evaluation)[:, 0]
    wrong = np.flatnonzero(result.valid & (top >= 0) & ~correct & ~evaluation.distractors[top])
    if not len(wrong):
        return []
    wrong = wrong[np.argsort(-score[wrong], kind="stable")]
    people = np.stack([query.pids[wrong], gallery.pids[top[wrong]]], axis=1)
    pairs, highest, pair_of, total = np.unique(
        np.sort(people, axis=1), axis=0, return_index=True, return_inverse=True, return_counts=True
    )
    pair_of = pair_of.ravel()
    found = []
    for pair in np.lexsort((highest, -total))[:count]:
        members = wrong[pair_of == pair]
        small, large = (int(pid) for pid in pairs[pair])
        by_small = int((query.pids[members] == small).sum())
        asked = (by_small, len(members) - by_small)
        found.append(Confusion((small, large), asked, tuple(members.tolist())))
    return found


def worst_camera_pair(cameras: CameraPairs) -> tuple[int, int] | None:
    """Row and column of the lowest rank-1, then the lowest mAP; None without any pair.

    Pairs with fewer than 10 queries are skipped if any pair has more.
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
    """The queries on which two models differ at rank 1.

    Attributes:
        model, reference: the runs.
        won, lost: queries for which only the model, or only the reference, is correct at rank 1;
            the largest difference in AP first.
        both, neither: numbers of queries for which both or neither is correct.
    """

    model: EvaluationRun
    reference: EvaluationRun
    won: Rows
    lost: Rows
    both: int
    neither: int


def disagreement(model: EvaluationRun, reference: EvaluationRun) -> Disagreement:
    """Compare two runs at rank 1, over the queries that are valid in both."""
    ours, theirs = model.final, reference.final
    # Under single-shot a query is correct if it is in more than half of the draws.
    correct, their_correct = (each.matched_within(1) > 0.5 for each in (ours, theirs))
    counted = ours.valid & theirs.valid
    gap = ours.average_precision - theirs.average_precision

    def widest(chosen: NDArray[np.bool_], order: NDArray[np.float64]) -> Rows:
        rows = np.flatnonzero(chosen & counted)
        return rows[np.argsort(order[rows], kind="stable")]

    return Disagreement(
        model,
        reference,
        widest(correct & ~their_correct, -gap),
        widest(their_correct & ~correct, gap),
        int((counted & correct & their_correct).sum()),
        int((counted & ~correct & ~their_correct).sum()),
    )


def map_people(
    evaluation: EvaluationRun, wanted: Sequence[int] | int, confused: Sequence[Confusion], seed: int
) -> list[int]:
    """Pids for the map: those wanted, or that many, the most confused people first.

    Raises:
        InputError: if ``wanted`` is a number below 1.
    """
    if not isinstance(wanted, int):
        return list(dict.fromkeys(int(pid) for pid in wanted))
    if wanted < 1:
        raise InputError(f"a map of {wanted} people: give 1 or more")
    searched = set(evaluation.query.pids.tolist())
    both = (pid for pair in confused for pid in pair.people if pid in searched)
    people = list(dict.fromkeys(both))[:wanted]
    others = np.setdiff1d(evaluation.query.pids[evaluation.final.valid], people)
    missing = min(wanted - len(people), len(others))
    drawn = np.random.default_rng(seed).choice(others, missing, replace=False)
    return people + sorted(int(pid) for pid in drawn)
