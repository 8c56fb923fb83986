"""Figures per pair of cameras equal those of the sets cut down to the two."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from reid_dhm.errors import InputError
from reid_dhm.evaluation.cameras import camera_pairs
from reid_dhm.retrieval.embeddings import EmbeddingSet
from reid_dhm.retrieval.ranking.whole_gallery import rank_gallery


def sets(seed=0, num_query=60, num_gallery=300, people=12, dim=8):
    """Queries from cameras 1, 4 and 7, a gallery of 4, 7 and 9, distractors in it."""
    rng = np.random.default_rng(seed)

    def some(number, first_pid, cameras):
        values = rng.choice([-1.0, 0.0, 1.0], (number, dim))  # brings equal distances
        values[:, 0] = 1
        return EmbeddingSet(
            values, rng.integers(first_pid, people + 1, number), rng.choice(cameras, number)
        )

    return some(num_query, 1, [1, 4, 7]), some(num_gallery, 0, [4, 7, 9])


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("camera_rule", [True, False])
@pytest.mark.parametrize("ap", ["standard", "trapezoid"])
def test_each_pair_equals_an_evaluation_of_the_two_cameras_alone(metric, camera_rule, ap):
    query, gallery = sets()
    options = {"metric": metric, "camera_rule": camera_rule, "ap": ap}
    found = camera_pairs(query, gallery, **options)
    assert found.query_cameras.tolist() == [1, 4, 7]
    assert found.gallery_cameras.tolist() == [4, 7, 9]
    for row, asked in enumerate(found.query_cameras):
        for column, shown in enumerate(found.gallery_cameras):
            figures = (
                found.num_queries[row, column],
                found.rank1[row, column],
                found.mean_ap[row, column],
            )
            if camera_rule and asked == shown:
                np.testing.assert_array_equal(figures, (0, np.nan, np.nan))
                continue
            part = rank_gallery(
                query.select(query.camids == asked),
                gallery.select(gallery.camids == shown),
                **options,
            )
            assert figures == pytest.approx((part.valid.sum(), part.cmc[1], part.mAP), abs=1e-12)


def test_a_pair_of_cameras_without_a_common_person_is_not_a_number():
    query = EmbeddingSet(np.eye(2), np.array([1, 2]), np.array([1, 1]))
    gallery = EmbeddingSet(np.eye(2), np.array([1, 2]), np.array([2, 3]))
    other = EmbeddingSet(np.eye(2), np.array([1, 3]), np.array([2, 3]))
    assert camera_pairs(query, gallery).rank1.tolist() == [[1.0, 1.0]]
    found = camera_pairs(query, other)
    np.testing.assert_array_equal(found.rank1, [[1.0, np.nan]])
    np.testing.assert_array_equal(found.mean_ap, [[1.0, np.nan]])
    assert found.num_queries.tolist() == [[1, 0]]


def test_zero_rows_are_named_by_their_number_in_the_whole_set():
    for side in (0, 1):
        both = sets()
        both[side].embeddings[41] = 0
        with pytest.raises(InputError, match=f"{('query', 'gallery')[side]} embeddings row 41 is"):
            camera_pairs(*both)


def test_what_evaluation_refuses_is_refused():
    query, gallery = sets()
    one = EmbeddingSet(gallery.embeddings, gallery.pids, np.full(len(gallery), 4))
    with pytest.raises(InputError, match=r"one camera only.*--no-camera-rule"):
        camera_pairs(query.select(query.camids == 4), one)
    with pytest.raises(InputError, match="share no person id"):
        camera_pairs(query, EmbeddingSet(one.embeddings, one.pids + 100, one.camids))
    with pytest.raises(InputError, match="metric is 'l2'"):
        camera_pairs(query, gallery, metric="l2")
    with pytest.raises(InputError, match="ap is 'voc'"):
        camera_pairs(query, gallery, ap="voc")
    junk = EmbeddingSet(query.embeddings, np.full(len(query), -1), query.camids)
    with pytest.raises(InputError, match="query pid in row 0 is -1"):
        camera_pairs(junk, gallery)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
def test_a_gpu_gives_the_same_figures():
    query, gallery = sets(seed=1, num_query=400, num_gallery=9000, people=80, dim=128)
    cpu, gpu = (camera_pairs(query, gallery, device=device) for device in ("cpu", "cuda"))
    np.testing.assert_array_equal(gpu.mean_ap, cpu.mean_ap)
    np.testing.assert_array_equal(gpu.rank1, cpu.rank1)
