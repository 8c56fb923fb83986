"""The ranking benchmark compares like with like."""

from __future__ import annotations

import numpy as np
import pytest

from reid_dhm.benchmarks.rank import compare_ranking, made_up_sets


def test_both_sides_rank_the_same_sets_and_agree():
    query, gallery = made_up_sets(20, 2000, 32)
    figures = compare_ranking(query, gallery, device="cpu", rounds=1)
    assert figures.torchreid_mean_ap == pytest.approx(figures.mean_ap, abs=1e-6)
    assert figures.over_product == figures.ours / figures.product
    assert figures.times_faster == figures.torchreid / figures.ours
    assert min(figures.ours, figures.product, figures.search, figures.torchreid) > 0


def test_made_up_sets_have_the_asked_size_and_distractors_beyond_market_1501():
    query, gallery = made_up_sets(7, 13_200, 4)
    assert query.embeddings.shape == (7, 4)
    assert gallery.embeddings.shape == (13_200, 4)
    assert np.count_nonzero(gallery.pids == 0) == 13_200 - 13_115
