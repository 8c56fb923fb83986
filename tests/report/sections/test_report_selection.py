"""Which queries, people and cameras an overview shows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reid_dhm.evaluation.cameras import CameraPairs
from reid_dhm.report.sections import selection
from reid_dhm.retrieval.embeddings import EmbeddingSet
from reid_dhm.retrieval.protocol import Protocol
from reid_dhm.retrieval.results import RetrievalResult


def result_of(average_precision: list[float]) -> RetrievalResult:
    """Queries without lists; NaN is not counted."""
    values = np.array(average_precision)
    valid = np.isfinite(values)
    return RetrievalResult(
        Protocol(),
        5,
        values,
        values,
        valid.astype(np.int64),
        np.full((len(values), 1), -1),
        np.full((len(values), 1), -np.inf),
        (1,),
        "none",
        "cpu",
    )


def test_worst_and_best_queries_take_one_query_of_each_person():
    result = result_of([0.2, 0.1, 0.9, np.nan, 0.5, 0.95])
    pids = np.array([1, 1, 2, 3, 4, 4])
    assert selection.worst_queries(result, pids, 3).tolist() == [1, 4, 2]
    assert selection.best_queries(result, pids, 2).tolist() == [5, 2]
    assert selection.worst_queries(result, pids, 99).tolist() == [1, 4, 2]


precisions = st.lists(st.one_of(st.floats(0.01, 1), st.just(np.nan)), min_size=1, max_size=30)


@settings(deadline=None)
@given(precisions, st.integers(0, 12), st.integers(0, 2**32))
def test_sections_hold_counted_queries_only_and_none_twice(values, count, seed):
    result = result_of(values)
    pids = np.arange(len(values)) // 2
    for rows in (
        selection.worst_queries(result, pids, count),
        selection.best_queries(result, pids, count),
        selection.random_queries(result, count, seed),
    ):
        assert result.valid[rows].all()
        assert len(set(rows.tolist())) == len(rows) <= count
    worst = selection.worst_queries(result, pids, count)
    people = len(set(pids[result.valid].tolist()))
    assert len(worst) == min(count, people)
    left = np.setdiff1d(np.flatnonzero(result.valid), worst)
    others = [row for row in left if pids[row] not in pids[worst]]
    if len(worst) and others:
        assert result.average_precision[worst].max() <= result.average_precision[others].min()


def test_random_queries_are_fixed_by_their_seed():
    result = result_of([0.5] * 100)
    first, again, other = (selection.random_queries(result, 10, seed) for seed in (1, 1, 2))
    assert first.tolist() == again.tolist() != other.tolist()


@pytest.fixture
def confusing(on_circle, evaluated):
    """Person 1 is answered by person 2 twice and 2 by 1 once; person 3 by a distractor."""
    query = EmbeddingSet(
        on_circle([0, 1, 40, 90, 120]), np.array([1, 1, 2, 3, 4]), np.ones(5, np.int64)
    )
    gallery = EmbeddingSet(
        on_circle([39, 2, 91, 170, 118]), np.array([1, 2, 0, 3, 4]), np.full(5, 2)
    )
    return evaluated(query, gallery)


def test_confusions_count_both_ways_and_leave_distractors_out(confusing):
    (pair,) = selection.confusions(confusing, confusing.result, 5)
    assert (pair.people, pair.asked, pair.total) == ((1, 2), (2, 1), 3)
    # Query 2 lies 1° from its wrong answer, as query 1 does, and query 0 2°.
    assert set(pair.queries[:2]) == {1, 2}
    assert pair.queries[2] == 0


def test_a_person_called_zero_who_is_searched_for_is_no_distractor(confusing, evaluated):
    asked = replace(confusing.query, pids=np.array([1, 1, 2, 0, 4]))
    held = replace(confusing.gallery, pids=np.array([1, 2, 7, 0, 4]))
    evaluation = evaluated(asked, held)
    pairs = selection.confusions(evaluation, evaluation.result, 5)
    assert [pair.people for pair in pairs] == [(1, 2), (0, 7)]


def cameras_of(rank1: list[list[float]], counts: list[list[int]]) -> CameraPairs:
    matrix = np.array(rank1)
    cameras = np.arange(1, len(matrix) + 1)
    return CameraPairs(cameras, cameras, matrix, matrix / 2, np.array(counts))


def test_the_worst_camera_pair_is_the_lowest_of_those_with_enough_queries():
    rank1 = [[np.nan, 0.1], [0.8, 0.6]]
    assert selection.worst_camera_pair(cameras_of(rank1, [[0, 3], [50, 10]])) == (1, 1)
    assert selection.worst_camera_pair(cameras_of(rank1, [[0, 3], [9, 2]])) == (0, 1)
    nothing = [[np.nan, np.nan], [np.nan, np.nan]]
    assert selection.worst_camera_pair(cameras_of(nothing, [[0, 0], [0, 0]])) is None


def test_disagreement_splits_the_counted_queries_in_four(make):
    models = [make(noise=1.4, name="a"), make(noise=0.9, name="b")]
    found = selection.disagreement(models[1], models[0])
    right = []
    for model in models:
        top = model.result.topk_indices[:, 0]
        right.append(model.gallery.pids[top] == model.query.pids)
    assert sorted(found.won) == np.flatnonzero(right[1] & ~right[0]).tolist()
    assert sorted(found.lost) == np.flatnonzero(right[0] & ~right[1]).tolist()
    assert found.both == (right[0] & right[1]).sum()
    assert found.neither == (~right[0] & ~right[1]).sum()
    gap = models[1].result.average_precision - models[0].result.average_precision
    assert (np.diff(gap[found.won]) <= 0).all()
    assert len(found.won) > 1


def test_people_of_a_map_are_the_confused_then_others(confusing):
    confused = selection.confusions(confusing, confusing.result, 5)
    assert selection.map_people(confusing, 2, confused, 0) == [1, 2]
    assert selection.map_people(confusing, 99, confused, 0) == [1, 2, 3, 4]
    assert selection.map_people(confusing, [4, 1, 4], confused, 0) == [4, 1]
