"""k-reciprocal re-ranking equals torchreid's where that is well defined, and its definition."""

from __future__ import annotations

import warnings
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from reid_dhm.errors import InputError
from reid_dhm.retrieval.protocol import Reranking
from reid_dhm.retrieval.refinement import neighbours, reranking
from reid_dhm.retrieval.refinement.reranking import rerank

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torchreid.reid.utils.rerank import re_ranking

METRICS = st.sampled_from(["cosine", "euclidean"])


def final(query, gallery, metric="cosine", how=None, device="cpu"):
    found = rerank(query, gallery, metric=metric, settings=how or Reranking(), device=device)
    assert found.shape == (len(query), len(gallery))
    return found.rows(0, len(query))


def squared_distances(query, gallery, metric):
    """(N, N) float64 over both."""
    rows = np.concatenate([query, gallery]).astype(np.float64)
    if metric == "cosine":
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return ((rows[:, None] - rows) ** 2).sum(2)


def torchreids(query, gallery, metric, how):
    """It squares what it is given, so the distance itself is what makes the comparison equal."""
    distances = np.sqrt(squared_distances(query, gallery, metric))
    q = len(query)
    parts = distances[:q, q:], distances[:q, :q], distances[q:, q:]
    return re_ranking(*parts, k1=how.k1, k2=how.k2, lambda_value=how.weight)


def defined(squared, num_query, how):
    """The paper written out, set by set, from the (N, N) squared distances."""
    n = len(squared)
    order = [sorted(range(n), key=lambda j, i=i: (j != i, squared[i][j], j)) for i in range(n)]
    scaled = [[d / (max(row) or 1) for d in row] for row in squared]

    def reciprocal(i, k):
        return {j for j in order[i][: k + 1] if i in order[j][: k + 1]}

    def membership(i):
        found = reciprocal(i, how.k1)
        expanded = set(found)
        for j in found:
            inner = reciprocal(j, round(how.k1 / 2))
            if 3 * len(inner & found) > 2 * len(inner):
                expanded |= inner
        weights = {j: np.exp(-scaled[i][j]) for j in expanded}
        return {j: weight / sum(weights.values()) for j, weight in weights.items()}

    plain = [membership(i) for i in range(n)]
    averaged = plain
    if how.k2 > 1:
        averaged = []
        for i in range(n):
            near = [plain[j] for j in order[i][: how.k2]]
            names = set().union(*near)
            averaged.append({j: sum(one.get(j, 0) for one in near) / len(near) for j in names})

    def jaccard(a, b):
        names = set(a) | set(b)
        least = sum(min(a.get(j, 0), b.get(j, 0)) for j in names)
        return 1 - least / sum(max(a.get(j, 0), b.get(j, 0)) for j in names)

    return np.array(
        [
            [
                how.weight * scaled[i][j] + (1 - how.weight) * jaccard(averaged[i], averaged[j])
                for j in range(num_query, n)
            ]
            for i in range(num_query)
        ]
    )


def people(rng, num_query, num_gallery, dim, num_people, spread):
    directions = rng.standard_normal((num_people, dim))

    def some(number):
        who = directions[rng.integers(0, num_people, number)]
        return (who + spread * rng.standard_normal((number, dim))).astype(np.float32)

    return some(num_query), some(num_gallery)


@contextmanager
def made_otherwise(tile, segment, slack, height, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(neighbours, "TILE", {"cpu": tile})
            patch.setattr(neighbours, "_SEGMENT", segment)
            patch.setattr(neighbours, "_SLACK", slack)
            patch.setattr(neighbours, "_TASK", 7)
            patch.setattr(reranking, "_ROWS", {"cpu": height})
            yield
    finally:
        torch.set_num_threads(before)


@settings(max_examples=300, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    num_query=st.integers(1, 15),
    num_gallery=st.integers(1, 60),
    dim=st.integers(2, 16),
    num_people=st.integers(1, 12),
    metric=METRICS,
    k1=st.integers(1, 25),
    k2=st.integers(1, 8),
    weight=st.sampled_from([0.0, 0.3, 1.0]),
)
def test_equals_torchreid_where_distances_are_well_separated(
    seed, num_query, num_gallery, dim, num_people, metric, k1, k2, weight
):
    rng = np.random.default_rng(seed)
    query, gallery = people(rng, num_query, num_gallery, dim, num_people, spread=0.5)
    squared = squared_distances(query, gallery, metric)
    ordered = np.sort(squared / squared.max(axis=1, keepdims=True), axis=1)
    assume(np.diff(ordered, axis=1).min() > 1e-6)

    how = Reranking(k1, k2, weight)
    expected = torchreids(query, gallery, metric, how)
    found = final(query, gallery, metric, how)
    np.testing.assert_allclose(found, expected, atol=1e-5, rtol=0)
    best = np.sort(expected, axis=1)[:, :10]
    listed = np.take_along_axis(expected, np.argsort(found, axis=1)[:, :10], axis=1)
    np.testing.assert_allclose(listed, best, atol=1e-5, rtol=0)


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    num_query=st.integers(1, 5),
    num_gallery=st.integers(1, 25),
    dim=st.integers(1, 6),
    metric=METRICS,
    k1=st.integers(1, 9),
    k2=st.integers(1, 6),
    slack=st.sampled_from([0, 2, 8]),
    tile=st.sampled_from([4, 8, 1024]),
)
def test_equals_the_definition_on_cases_full_of_duplicates_and_ties(
    seed, num_query, num_gallery, dim, metric, k1, k2, slack, tile
):
    # Entries of ±1 have equal norms, so many different images are equally far, exactly.
    rng = np.random.default_rng(seed)
    query = rng.choice([-1, 1], (num_query, dim)).astype(np.float32)
    gallery = rng.choice([-1, 1], (num_gallery, dim)).astype(np.float32)
    rows = np.concatenate([query, gallery]).astype(int)
    squared = (2 * dim - 2 * rows @ rows.T).tolist()

    how = Reranking(k1, k2, 0.3)
    expected = defined(squared, num_query, how)
    with made_otherwise(tile, 4, slack, 3, threads=1):
        found = final(query, gallery, metric, how)
    np.testing.assert_allclose(found, expected, atol=2e-6, rtol=0)
    assert found.min() >= 0


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), metric=METRICS, k1=st.integers(1, 40))
def test_equals_the_definition_on_people(seed, metric, k1):
    query, gallery = people(np.random.default_rng(seed), 4, 36, 8, 6, spread=0.4)
    how = Reranking(k1, 3, 0.3)
    expected = defined(squared_distances(query, gallery, metric).tolist(), 4, how)
    np.testing.assert_allclose(final(query, gallery, metric, how), expected, atol=5e-6, rtol=0)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_neither_blocks_nor_threads_change_anything(metric):
    rng = np.random.default_rng(1)
    query, gallery = people(rng, 40, 460, 32, 30, spread=0.7)
    gallery[100:160] = gallery[:60]  # ties at every boundary
    gallery[200:240] = gallery[200]  # more of a kind than neighbours are kept
    expected = final(query, gallery, metric)
    for tile, segment, slack, height, threads in [
        (1024, 16, 8, 64, 2),
        (64, 4, 8, 7, 2),
        (160, 16, 0, 1, 1),
        (16, 2, 1, 100, 2),
    ]:
        with made_otherwise(tile, segment, slack, height, threads):
            found = final(query, gallery, metric)
        # Neighbours are the same; the product itself rounds, a membership would change by 0.01.
        np.testing.assert_allclose(found, expected, atol=2e-6, rtol=0)


def test_the_number_of_threads_is_left_as_it_was():
    rng = np.random.default_rng(2)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    final(*people(rng, 5, 100, 8, 5, spread=0.5))
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("spread", [1e-3, 1e-5])
def test_images_that_float32_products_cannot_tell_apart(metric, spread):
    rng = np.random.default_rng(3)
    offset = rng.standard_normal(24)
    query, gallery = (
        (offset + spread * rng.standard_normal((n, 24))).astype(np.float32) for n in (5, 60)
    )
    how = Reranking(6, 3, 0.3)
    expected = defined(squared_distances(query, gallery, metric).tolist(), 5, how)
    np.testing.assert_allclose(final(query, gallery, metric, how), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_images_that_are_all_alike_are_at_no_distance(metric):
    query, gallery = np.full((2, 5), 0.1, np.float32), np.full((30, 5), 0.1, np.float32)
    how = Reranking(weight=1.0)
    np.testing.assert_array_equal(final(query, gallery, metric, how), np.zeros((2, 30)))


def test_neighbours_beyond_the_images_are_all_images():
    rng = np.random.default_rng(4)
    query, gallery = people(rng, 2, 5, 6, 3, spread=0.5)
    whole = final(query, gallery, how=Reranking(k1=6, k2=7))
    np.testing.assert_array_equal(final(query, gallery, how=Reranking(k1=500, k2=90)), whole)


def test_rows_of_a_block_are_those_of_the_whole():
    rng = np.random.default_rng(5)
    query, gallery = people(rng, 9, 50, 8, 6, spread=0.5)
    found = rerank(query, gallery)
    whole = found.rows(0, 9)
    assert whole.dtype == np.float32
    assert found.rows(4, 4).shape == (0, 50)
    np.testing.assert_allclose(found.rows(3, 8), whole[3:8], atol=1e-6, rtol=0)
    for start, stop in [(-1, 3), (4, 3), (0, 10)]:
        with pytest.raises(IndexError, match=r"rows .* of 9"):
            found.rows(start, stop)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"k1": 0}, "k1 of re-ranking is 0: give 1 or more"),
        ({"k2": -3}, "k2 of re-ranking is -3"),
        ({"weight": 1.5}, "lambda of re-ranking is 1.5"),
        ({"weight": -0.1}, "0 to 1"),
        ({"weight": float("nan")}, "lambda of re-ranking is nan"),
    ],
)
def test_bad_settings_are_refused(values, message):
    with pytest.raises(InputError, match=message):
        Reranking(**values)


def test_bad_arrays_are_refused():
    rows = np.eye(4, dtype=np.float32)
    holed, infinite, zero = rows.copy(), rows.copy(), rows.copy()
    holed[2, 1], infinite[3, 0], zero[1] = np.nan, np.inf, 0
    with pytest.raises(InputError, match="query embeddings row 2 holds a value that is not finite"):
        rerank(holed, rows)
    with pytest.raises(InputError, match="gallery embeddings row 3 holds a value"):
        rerank(rows, infinite)
    with pytest.raises(InputError, match="gallery embeddings row 1 is zero"):
        rerank(rows, zero)
    assert rerank(rows, zero, metric="euclidean").rows(0, 4).shape == (4, 4)
    with pytest.raises(InputError, match=r"query embeddings have 4 dimensions and gallery .* 3"):
        rerank(rows, rows[:3, :3])
    with pytest.raises(InputError, match=r"gallery embeddings are of shape \(0, 4\)"):
        rerank(rows, rows[:0])
    with pytest.raises(InputError, match="type float64"):
        rerank(rows.astype(np.float64), rows)
    with pytest.raises(InputError, match="metric is 'dot'"):
        rerank(rows, rows, metric="dot")
    with pytest.raises(InputError, match="device is 'tpu'"):
        rerank(rows, rows, device="tpu")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_a_gpu_finds_the_same_distances(metric):
    rng = np.random.default_rng(6)
    query, gallery = people(rng, 300, 9000, 128, 300, spread=1.0)
    gallery[4000:4500] = gallery[:500]
    expected = final(query, gallery, metric)
    found = final(query, gallery, metric, device="cuda")
    np.testing.assert_allclose(found, expected, atol=1e-5, rtol=0)
