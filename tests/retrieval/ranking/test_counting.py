"""Ranks by counting equal the sorted definition, whatever the blocks, threads and precision."""

from __future__ import annotations

from contextlib import contextmanager
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reid_dhm.devices import full_float32
from reid_dhm.retrieval.distances import Space
from reid_dhm.retrieval.ranking import counting


@contextmanager
def tiles(height, width, segment):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counting, "_TILE", {"cpu": (height, width), "cuda": (height, width)})
        patch.setattr(counting, "SEGMENT", segment)
        yield


@contextmanager
def threads(number):
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def counted(query, gallery, ids, metric="cosine", camera_rule=True, device="cpu"):
    """{query: ranks of its correct images}."""
    to = torch.from_numpy
    space = Space.of(metric, to(gallery).to(device))
    found = {}
    for pairs in counting.same_person_pairs(*ids, camera_rule):
        ranks = counting.rank_positives(space, to(query).to(device), pairs)
        for row, rank in zip(ranks.query.tolist(), ranks.rank.tolist(), strict=True):
            found.setdefault(row, []).append(rank)
    return found


def hits(answers):
    return {row: answer.hits for row, answer in enumerate(answers) if answer.hits}


def random_ids(rng, num_query, num_gallery, people=4, cameras=3):
    return (
        rng.integers(0, people, num_query),
        rng.integers(0, cameras, num_query),
        rng.integers(0, people + 2, num_gallery),
        rng.integers(0, cameras, num_gallery),
    )


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    num_query=st.integers(1, 6),
    num_gallery=st.integers(1, 25),
    dim=st.integers(1, 5),
    metric=st.sampled_from(["cosine", "euclidean"]),
    camera_rule=st.booleans(),
    tile=st.sampled_from([(1, 4, 2), (3, 8, 4), (512, 1024, 128)]),
)
def test_ranks_equal_the_definition_on_cases_full_of_ties(
    answers, seed, num_query, num_gallery, dim, metric, camera_rule, tile
):
    # Entries of ±1 have equal norms, so many different images are equally far, exactly.
    rng = np.random.default_rng(seed)
    query = rng.choice([-1, 1], (num_query, dim)).astype(np.float32)
    gallery = rng.choice([-1, 1], (num_gallery, dim)).astype(np.float32)
    ids = random_ids(rng, num_query, num_gallery)
    with tiles(*tile):
        found = counted(query, gallery, ids, metric, camera_rule)
    assert found == hits(answers(query, gallery, metric, ids, camera_rule))


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("spread", [1.0, 1e-3, 3e-6])
def test_almost_equal_distances_rank_without_rounding(answers, metric, spread):
    # At 3e-6 of the common offset, float32 sums cannot tell the images apart.
    rng = np.random.default_rng(5)
    offset = rng.standard_normal(48)
    query, gallery = (
        (offset + spread * rng.standard_normal((n, 48))).astype(np.float32) for n in (6, 120)
    )
    ids = random_ids(rng, 6, 120)
    assert counted(query, gallery, ids, metric) == hits(answers(query, gallery, metric, ids))


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("dim", [3, 33, 130])
def test_equal_rows_tie_wherever_they_stand_in_the_gallery(answers, metric, dim):
    rng = np.random.default_rng(dim)
    people = rng.standard_normal((9, dim)).astype(np.float32)
    gallery = people[rng.integers(0, 9, 1500)]
    query = rng.standard_normal((7, dim)).astype(np.float32)
    ids = random_ids(rng, 7, 1500)
    expected = hits(answers(query, gallery, metric, ids))
    for tile, number in [((512, 1024, 128), 1), ((512, 1024, 128), 2), ((2, 37 * 128, 128), 1)]:
        with tiles(*tile), threads(number):
            assert counted(query, gallery, ids, metric) == expected


def test_large_offsets_and_magnitudes_do_not_disturb_euclidean_ranks(answers):
    rng = np.random.default_rng(8)
    ids = random_ids(rng, 5, 60)
    for scale, offset in [(1e-25, 0), (1e25, 0), (1.0, 3e4)]:
        query, gallery = (
            (scale * (rng.standard_normal((n, 12)) + offset)).astype(np.float32) for n in (5, 60)
        )
        found = counted(query, gallery, ids, "euclidean")
        assert found == hits(answers(query, gallery, "euclidean", ids))


@pytest.mark.parametrize("length", [1e-42, 1e-30, 1e36])
def test_extreme_lengths_do_not_disturb_cosine_ranks(answers, length):
    rng = np.random.default_rng(7)
    query, gallery = (rng.standard_normal((n, 6)).astype(np.float32) for n in (5, 60))
    gallery[::2] *= length
    ids = random_ids(rng, 5, 60)
    assert counted(query, gallery, ids) == hits(answers(query, gallery, "cosine", ids))


def test_products_are_ieee_float32_whatever_was_asked_for():
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16), full_float32(torch.device("cpu")):
            assert torch.get_float32_matmul_precision() == "highest"
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)


def test_the_number_of_threads_is_left_as_it_was():
    rng = np.random.default_rng(10)
    query, gallery = (rng.standard_normal((n, 8)).astype(np.float32) for n in (4, 3000))
    with threads(2):
        counted(query, gallery, random_ids(rng, 4, 3000))
        assert torch.get_num_threads() == 2


def test_pairs_split_into_lists_are_the_same_pairs():
    rng = np.random.default_rng(11)
    ids = random_ids(rng, 50, 200)
    whole = list(counting.same_person_pairs(*ids, camera_rule=True))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counting, "_BATCH_PAIRS", 70)
        parts = list(counting.same_person_pairs(*ids, camera_rule=True))
    assert len(whole) == 1
    assert len(parts) > 10
    for name in ("query", "gallery", "ignored"):
        joined = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_array_equal(joined, getattr(whole[0], name))
    assert all(
        before.query[-1] < after.query[0]
        for before, after in pairwise(parts)
        if len(before.query) and len(after.query)
    )


def test_a_query_with_many_correct_images_gets_a_block_of_its_own(answers):
    rng = np.random.default_rng(12)
    query, gallery = (rng.standard_normal((n, 6)).astype(np.float32) for n in (5, 90))
    pids = np.where(np.arange(90) < 70, 0, rng.integers(1, 4, 90))
    ids = np.array([0, 1, 0, 2, 3]), np.full(5, 9), pids, np.zeros(90, dtype=np.int64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counting, "_BLOCK_POSITIVES", 30)
        found = counted(query, gallery, ids)
    assert found == hits(answers(query, gallery, "cosine", ids))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_a_gpu_counts_the_same_ranks(metric):
    rng = np.random.default_rng(13)
    query, gallery = (rng.standard_normal((n, 512)).astype(np.float32) for n in (300, 20000))
    gallery[::3] = gallery[0]
    ids = random_ids(rng, 300, 20000, people=900)
    expected = counted(query, gallery, ids, metric)
    assert counted(query, gallery, ids, metric, device="cuda") == expected
