"""The ranking benchmark compares like with like."""

from __future__ import annotations

import numpy as np
import pytest

from reid_dhm.benchmarks.harness import synthetic_file, synthetic_sets
from reid_dhm.benchmarks.retrieval.rank import compare_ranking
from reid_dhm.retrieval.embeddings import EmbeddingSet
from reid_dhm.retrieval.npz import write_evaluation_npz


def test_both_sides_rank_the_same_sets_and_agree():
    with synthetic_file(20, 2000, 32) as path:
        figures = compare_ranking(path, device="cpu", rounds=1)
    assert (figures.num_query, figures.num_gallery, figures.dim) == (20, 2000, 32)
    assert figures.torchreid_mean_ap == pytest.approx(figures.mean_ap, abs=1e-6)
    assert figures.over_product == figures.ours / figures.product
    assert figures.ranking == figures.ours - figures.product
    assert figures.times_faster == figures.torchreid / figures.ours
    assert min(figures.ours, figures.product, figures.search) > 0
    assert figures.torchreid > figures.torchreid_distances > 0


def test_a_gallery_that_begins_with_distractors_is_measured_without_torchreid(tmp_path):
    query, gallery = synthetic_sets(20, 6000, 8)
    pids = np.where(np.arange(6000) < 3000, 0, gallery.pids)  # as Market-1501: distractors first
    path = tmp_path / "sorted.npz"
    write_evaluation_npz(path, query, EmbeddingSet(gallery.embeddings, pids, gallery.camids))
    figures = compare_ranking(path, device="cpu", rounds=1, with_torchreid=False)
    assert figures.num_gallery == 6000
    assert figures.torchreid is None
    assert figures.times_faster is None
