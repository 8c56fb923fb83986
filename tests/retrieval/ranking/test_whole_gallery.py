"""Evaluation as a whole: against torchreid, against the definition, and what it refuses."""

from __future__ import annotations

import sys
import warnings

import faiss
import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from reid_dhm.errors import InputError
from reid_dhm.retrieval.embeddings import EmbeddingSet
from reid_dhm.retrieval.protocol import Protocol
from reid_dhm.retrieval.ranking.whole_gallery import _check_agreement, rank_gallery

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torchreid.reid.metrics.rank import eval_market1501


@settings(max_examples=300, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    num_query=st.integers(1, 20),
    num_gallery=st.integers(40, 120),
    dim=st.integers(2, 12),
    people=st.integers(1, 8),
    cameras=st.integers(2, 4),
    metric=st.sampled_from(["cosine", "euclidean"]),
)
def test_equals_torchreid_where_torchreid_is_well_defined(
    random_sets, seed, num_query, num_gallery, dim, people, cameras, metric
):
    query, gallery = random_sets(
        np.random.default_rng(seed), num_query, num_gallery, dim, people, cameras
    )
    left, right = query.embeddings.astype(np.float64), gallery.embeddings.astype(np.float64)
    if metric == "cosine":
        left /= np.linalg.norm(left, axis=1, keepdims=True)
        right /= np.linalg.norm(right, axis=1, keepdims=True)
    distances = np.linalg.norm(left[:, None] - right[None], axis=2)
    assume(np.diff(np.sort(distances, axis=1), axis=1).min() > 1e-9)
    ignored = (query.pids[:, None] == gallery.pids) & (query.camids[:, None] == gallery.camids)
    assume((num_gallery - ignored.sum(axis=1)).min() > 20)
    correct = (query.pids[:, None] == gallery.pids) & ~ignored
    assume(correct.any())

    cmc, mean_ap = eval_market1501(
        distances, query.pids, gallery.pids, query.camids, gallery.camids, max_rank=20
    )
    result = rank_gallery(query, gallery, metric=metric, ranks=range(1, 21))
    assert result.mAP == pytest.approx(mean_ap, abs=1e-6)
    assert list(result.cmc.values()) == pytest.approx(list(cmc), abs=1e-6)


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    num_query=st.integers(1, 6),
    num_gallery=st.integers(1, 30),
    dim=st.integers(1, 4),
    people=st.integers(1, 6),
    cameras=st.integers(1, 3),
    metric=st.sampled_from(["cosine", "euclidean"]),
    camera_rule=st.booleans(),
    ap=st.sampled_from(["standard", "trapezoid"]),
    top_k=st.integers(1, 40),
)
def test_equals_the_definition_on_small_galleries_with_ties_junk_and_distractors(
    random_sets,
    answers,
    seed,
    num_query,
    num_gallery,
    dim,
    people,
    cameras,
    metric,
    camera_rule,
    ap,
    top_k,
):
    query, gallery = random_sets(
        np.random.default_rng(seed), num_query, num_gallery, dim, people, cameras, values=[-1, 1]
    )
    ids = query.pids, query.camids, gallery.pids, gallery.camids
    expected = answers(query.embeddings, gallery.embeddings, metric, ids, camera_rule)
    valid = [one for one in expected if one.hits]
    options = {"metric": metric, "camera_rule": camera_rule, "ap": ap, "top_k": top_k}
    if not valid:
        with pytest.raises(InputError, match="no query has a correct gallery image"):
            rank_gallery(query, gallery, **options)
        return
    result = rank_gallery(query, gallery, **options, ranks=(1, 2, 50))
    aps = [one.ap if ap == "standard" else one.trapezoid_ap for one in valid]
    assert result.mAP == pytest.approx(np.mean(aps), abs=1e-12)
    assert result.mINP == pytest.approx(np.mean([one.inp for one in valid]), abs=1e-12)
    for k in (1, 2, 50):
        assert result.cmc[k] == pytest.approx(np.mean([one.hits[0] <= k for one in valid]))
    assert result.valid.tolist() == [bool(one.hits) for one in expected]
    for row, one in enumerate(expected):
        listed = one.order[:top_k]
        assert result.topk_indices[row].tolist() == listed + [-1] * (top_k - len(listed))
        assert np.isneginf(result.topk_scores[row, len(listed) :]).all()


def test_a_case_worked_by_hand():
    # Angles from the query: 10° wrong, 20° own camera, 30° right, 40° distractor, 50° right.
    angles = np.deg2rad([0, 10, 20, 30, 40, 50])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    query = EmbeddingSet(vectors[:1], np.array([7]), np.array([1]))
    gallery = EmbeddingSet(
        vectors[1:] * np.array([[1], [2], [3], [4], [5]]),
        np.array([8, 7, 7, 0, 7]),
        np.array([1, 1, 2, 1, 3]),
    )
    result = rank_gallery(query, gallery, top_k=5)
    assert result.mAP == pytest.approx((1 / 2 + 2 / 4) / 2)
    assert result.mINP == pytest.approx(2 / 4)
    assert result.cmc == {1: 0.0, 5: 1.0, 10: 1.0, 20: 1.0}
    assert result.topk_indices.tolist() == [[0, 2, 3, 4, -1]]
    np.testing.assert_allclose(result.topk_scores[0, :4], np.cos(angles[[1, 3, 4, 5]]), atol=1e-6)
    # With the rule lifted, the image at 20° is a correct one at rank 2.
    lifted = rank_gallery(query, gallery, camera_rule=False)
    assert lifted.mAP == pytest.approx((1 / 2 + 2 / 3 + 3 / 5) / 3)
    # Unnormalised, the lengths 1 to 5 decide: distances to (1, 0) grow with the length.
    raw = rank_gallery(query, gallery, metric="euclidean", top_k=4)
    lengths, turned = np.array([1, 3, 4, 5]), angles[[1, 3, 4, 5]]
    distances = np.hypot(lengths * np.cos(turned) - 1, lengths * np.sin(turned))
    np.testing.assert_allclose(raw.topk_scores[0], -distances, rtol=1e-6)


def test_identities_of_one_camera_are_refused_with_the_switch_named(random_sets):
    rng = np.random.default_rng(0)
    query, gallery = random_sets(rng, 4, 30, 4, people=3, cameras=1)
    with pytest.raises(
        InputError, match=r"one camera only.*--no-camera-rule.*test\.camera_rule=false"
    ):
        rank_gallery(query, gallery)
    assert rank_gallery(query, gallery, camera_rule=False).valid.all()


def test_sets_without_a_common_person_are_refused(random_sets):
    rng = np.random.default_rng(0)
    query, gallery = random_sets(rng, 4, 30, 4, people=3, cameras=2)
    other = EmbeddingSet(gallery.embeddings, gallery.pids + 100, gallery.camids)
    with pytest.raises(InputError, match="share no person id"):
        rank_gallery(query, other)


def test_the_summary_has_the_documented_names(random_sets):
    query, gallery = random_sets(np.random.default_rng(1), 5, 60, 4, people=3, cameras=3)
    summary = rank_gallery(query, gallery).summary()
    assert list(summary) == [
        "mAP",
        "mINP",
        "cmc",
        "num_queries",
        "num_valid_queries",
        "num_gallery",
        "index",
        "device",
        "seconds",
    ]
    assert list(summary["cmc"]) == ["1", "5", "10", "20"]
    assert list(summary["seconds"]) == ["rank", "search"]
    assert summary["num_gallery"] == 60


def test_a_list_that_contradicts_the_count_is_a_defect(random_sets):
    query, gallery = random_sets(np.random.default_rng(2), 3, 20, 4, people=2, cameras=3)
    result = rank_gallery(query, gallery)
    _check_agreement(result.first_rank, result.topk_indices, query, gallery)
    with pytest.raises(RuntimeError, match="by counting"):
        _check_agreement(result.first_rank + 1, result.topk_indices, query, gallery)


@pytest.mark.parametrize("side", ["query", "gallery"])
def test_a_zero_row_is_named_under_cosine_and_accepted_under_euclidean(random_sets, side):
    query, gallery = random_sets(np.random.default_rng(3), 5, 40, 4, people=2, cameras=3)
    {"query": query, "gallery": gallery}[side].embeddings[3] = 0
    with pytest.raises(InputError, match=f"{side} embeddings row 3 is zero"):
        rank_gallery(query, gallery)
    assert rank_gallery(query, gallery, metric="euclidean").valid.any()


def test_bad_arguments_are_refused(random_sets):
    query, gallery = random_sets(np.random.default_rng(4), 5, 40, 4, people=2, cameras=3)
    narrow = EmbeddingSet(query.embeddings[:, :3], query.pids, query.camids)
    junk = EmbeddingSet(query.embeddings, np.array([1, 1, -1, 1, 1]), query.camids)
    with pytest.raises(InputError, match="3 dimensions and gallery embeddings 4"):
        rank_gallery(narrow, gallery)
    with pytest.raises(InputError, match="query pid in row 2 is -1"):
        rank_gallery(junk, gallery)
    with pytest.raises(InputError, match=r"ranks is \(0, 1\)"):
        rank_gallery(query, gallery, ranks=(0, 1))
    with pytest.raises(InputError, match="top_k is 0"):
        rank_gallery(query, gallery, top_k=0)
    for unknown in ("tpu", "cuda:", "cuda:x", "cuda:99999"):
        with pytest.raises(InputError, match=f"device is '{unknown}': choose"):
            rank_gallery(query, gallery, device=unknown)
    with pytest.raises(InputError, match="device is 'cuda:99', but PyTorch sees"):
        rank_gallery(query, gallery, device="cuda:99")
    with pytest.raises(InputError, match="metric is 'manhattan'"):
        Protocol(metric="manhattan")
    with pytest.raises(InputError, match="ap is 'voc'"):
        Protocol(ap="voc")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_without_a_gpu_is_refused(random_sets):
    query, gallery = random_sets(np.random.default_rng(4), 5, 40, 4, people=2, cameras=3)
    with pytest.raises(InputError, match="PyTorch sees no GPUs"):
        rank_gallery(query, gallery, device="cuda")


def test_faiss_without_gpus_searches_on_the_cpu_beside_counting_on_a_gpu(random_sets, monkeypatch):
    query, gallery = random_sets(np.random.default_rng(4), 5, 40, 4, people=2, cameras=3)
    counted_on: list[str] = []

    def count_on_cpu(device):  # stands for a GPU
        counted_on.append(device)
        return torch.device("cpu")

    monkeypatch.setattr(sys.modules[rank_gallery.__module__], "parse_device", count_on_cpu)
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 0)
    result = rank_gallery(query, gallery, device="cuda:1")
    assert (counted_on, result.device) == (["cuda:1"], "cpu")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_a_gpu_gives_the_same_figures_and_lists(random_sets, metric):
    query, gallery = random_sets(np.random.default_rng(5), 400, 20000, 256, 700, 6)
    gallery.embeddings[::5] = gallery.embeddings[0]
    cpu = rank_gallery(query, gallery, metric=metric, top_k=50, device="cpu")
    gpu = rank_gallery(query, gallery, metric=metric, top_k=50)
    assert gpu.device.startswith("cuda")
    np.testing.assert_array_equal(gpu.topk_indices, cpu.topk_indices)
    np.testing.assert_array_equal(gpu.topk_scores, cpu.topk_scores)
    np.testing.assert_array_equal(gpu.average_precision, cpu.average_precision)
