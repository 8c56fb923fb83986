"""The re-ranking benchmark compares like with like."""

from __future__ import annotations

import numpy as np

from reid_dhm.benchmarks.harness import synthetic_file
from reid_dhm.benchmarks.retrieval.rerank import _differences, compare_reranking


def test_both_sides_re_rank_the_same_sets_and_agree():
    with synthetic_file(30, 600, 32) as path:
        figures = compare_reranking(path, device="cpu", rounds=1)
    assert (figures.num_query, figures.num_gallery, figures.dim) == (30, 600, 32)
    assert figures.largest_difference < 1e-5
    assert figures.distances_differ == 0
    assert figures.lists_differ == 0
    assert figures.over_product == figures.ours / figures.product
    assert figures.over_half_product == figures.ours / figures.half_product
    assert figures.times_faster == figures.torchreid / figures.ours
    assert figures.ours > figures.rows > 0
    assert figures.expand_over_search == figures.expand / figures.search
    assert figures.augment_over_search == figures.augment / figures.gallery_search
    assert min(figures.product, figures.half_product, figures.search, figures.gallery_search) > 0


def test_without_torchreid_nothing_is_compared():
    with synthetic_file(5, 100, 8) as path:
        figures = compare_reranking(path, device="cpu", rounds=1, with_torchreid=False)
    assert figures.torchreid is None
    assert figures.largest_difference is None
    assert figures.times_faster is None


def test_differences_are_counted():
    ours = np.arange(60, dtype=np.float32).reshape(3, 20)
    theirs = ours.copy()
    theirs[0, 15] += 0.25  # beyond the ten nearest
    theirs[2, [0, 1]] = theirs[2, [1, 0]]
    found = _differences(ours, theirs)
    assert found == {"largest_difference": 1.0, "distances_differ": 3, "lists_differ": 1}
    assert all(type(value) in (int, float) for value in found.values())  # for JSON
