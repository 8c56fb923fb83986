"""Queries pooled per person and camera."""

from __future__ import annotations

import numpy as np
import pytest

from reid_dhm.errors import InputError
from reid_dhm.retrieval.embeddings import EmbeddingSet
from reid_dhm.retrieval.ranking.whole_gallery import rank_gallery
from reid_dhm.retrieval.refinement.pooling import pool_queries


@pytest.fixture
def query():
    return EmbeddingSet(
        np.array([[3.0, 4.0], [0.0, 5.0], [1.0, 0.0], [8.0, 6.0]]),
        np.array([2, 1, 2, 2]),
        np.array([1, 7, 3, 1]),
        ("first", "second", "third", "fourth"),
    )


def test_there_is_one_row_for_each_person_and_camera_in_order(query):
    pooled = pool_queries(query, "mean")
    assert pooled.pids.tolist() == [1, 2, 2]
    assert pooled.camids.tolist() == [7, 1, 3]
    assert pooled.paths == ("second", "first", "third")
    without = EmbeddingSet(query.embeddings, query.pids, query.camids)
    assert pool_queries(without, "mean").paths is None


@pytest.mark.parametrize(
    ("how", "metric", "expected"),
    [
        # (3, 4) and (8, 6) are (0.6, 0.8) and (0.8, 0.6) as unit vectors.
        ("mean", "cosine", [0.7, 0.7]),
        ("max", "cosine", [0.8, 0.8]),
        ("mean", "euclidean", [5.5, 5.0]),
        ("max", "euclidean", [8.0, 6.0]),
    ],
)
def test_rows_of_one_person_and_camera_are_pooled(query, how, metric, expected):
    pooled = pool_queries(query, how, metric)
    np.testing.assert_allclose(pooled.embeddings[1], expected, rtol=1e-6)
    alone = [0, 1] if metric == "cosine" else [0, 5]
    np.testing.assert_allclose(pooled.embeddings[0], alone, rtol=1e-6)


def test_queries_that_are_alone_are_ranked_as_before():
    rng = np.random.default_rng(0)
    ids = np.repeat(np.arange(1, 6), 3), np.tile([1, 2, 3], 5)
    query = EmbeddingSet(rng.standard_normal((15, 8)), *ids)
    gallery = EmbeddingSet(rng.standard_normal((40, 8)), rng.integers(0, 6, 40), np.full(40, 9))
    for how in ("mean", "max"):
        for metric in ("cosine", "euclidean"):
            plain = rank_gallery(query, gallery, metric=metric)
            pooled = rank_gallery(pool_queries(query, how, metric), gallery, metric=metric)
            np.testing.assert_array_equal(pooled.topk_indices, plain.topk_indices)
            assert pooled.mAP == plain.mAP


def test_bad_arguments_are_refused(query):
    with pytest.raises(InputError, match="multi-query is 'median': choose one of mean, max"):
        pool_queries(query, "median")
    with pytest.raises(InputError, match="metric is 'l2'"):
        pool_queries(query, "mean", "l2")
    query.embeddings[2] = 0
    with pytest.raises(InputError, match="query embeddings row 2 is zero"):
        pool_queries(query, "mean")
    assert len(pool_queries(query, "mean", "euclidean")) == 3
