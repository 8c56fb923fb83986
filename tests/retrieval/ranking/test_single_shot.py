"""CUHK03's classic protocol: against its definition, its expectation, and torchreid."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reid_dhm.errors import InputError
from reid_dhm.retrieval.embeddings import EmbeddingSet
from reid_dhm.retrieval.protocol import Protocol
from reid_dhm.retrieval.ranking import single_shot
from reid_dhm.retrieval.ranking.single_shot import draw_gallery, rank_single_shot
from reid_dhm.retrieval.ranking.whole_gallery import rank_gallery

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torchreid.reid.metrics.rank import eval_cuhk03


@pytest.fixture(scope="module")
def both():
    """30 people with 1 to 4 gallery images each, from two cameras, some own-camera ones."""
    rng = np.random.default_rng(0)
    people = np.arange(1, 31)
    centres = rng.standard_normal((31, 6))

    def some(pids, cameras):
        rows = centres[pids] + 1.5 * rng.standard_normal((len(pids), 6))
        return EmbeddingSet(rows, pids, cameras)

    query = some(np.repeat(people, 2), np.tile([1, 2], 30))
    pids = np.concatenate([people, rng.integers(1, 31, 50)])
    return query, some(pids, rng.integers(2, 4, len(pids)))


def closeness(query, gallery):
    left, right = (side.embeddings.astype(np.float64) for side in (query, gallery))
    left /= np.linalg.norm(left, axis=1, keepdims=True)
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    return left @ right.T


def own_rows(query, gallery):
    """(Q, G) bool, images of the query's person that the camera rule leaves."""
    same = query.pids[:, None] == gallery.pids
    return same & (query.camids[:, None] != gallery.camids)


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    num_query=st.integers(1, 6),
    num_gallery=st.integers(1, 30),
    people=st.integers(1, 6),
    cameras=st.integers(1, 3),
    metric=st.sampled_from(["cosine", "euclidean"]),
    camera_rule=st.booleans(),
    repeats=st.integers(1, 3),
)
def test_ranks_equal_the_definition_on_the_same_draws(
    random_sets,
    answers,
    seed,
    num_query,
    num_gallery,
    people,
    cameras,
    metric,
    camera_rule,
    repeats,
):
    query, gallery = random_sets(
        np.random.default_rng(seed), num_query, num_gallery, 3, people, cameras, values=[-1, 1]
    )
    options = {"metric": metric, "camera_rule": camera_rule, "repeats": repeats, "seed": seed}
    rng = np.random.default_rng(seed)
    draws = [draw_gallery(rng, query, gallery, camera_rule) for _ in range(repeats)]
    if (draws[0][0] < 0).all():
        with pytest.raises(InputError, match="no query has a correct gallery image"):
            rank_single_shot(query, gallery, **options)
        return
    result = rank_single_shot(query, gallery, **options, ranks=(1, 3))
    whole = answers(query.embeddings, gallery.embeddings, metric)
    expected = np.zeros((repeats, num_query), dtype=int)
    for draw, (own, shown) in enumerate(draws):
        for row, answer in enumerate(whole):
            others = {g for g in shown if gallery.pids[g] != query.pids[row]}
            order = [g for g in answer.order if g == own[row] or g in others]
            expected[draw, row] = 0 if own[row] < 0 else order.index(own[row]) + 1
    np.testing.assert_array_equal(result.first_rank, expected)
    valid = expected[0] > 0
    np.testing.assert_array_equal(result.valid, valid)
    np.testing.assert_array_equal(np.isnan(result.average_precision), ~valid)
    np.testing.assert_array_equal(np.isnan(result.inverse_negative_penalty), ~valid)
    assert result.mAP == pytest.approx((1 / expected[:, valid]).mean())
    assert result.mINP == result.mAP
    assert result.cmc == pytest.approx({k: (expected[:, valid] <= k).mean() for k in (1, 3)})


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), camera_rule=st.booleans(), person_zero=st.booleans())
def test_a_draw_has_one_image_of_each_person_and_all_of_nobody(
    random_sets, seed, camera_rule, person_zero
):
    rng = np.random.default_rng(seed)
    query, gallery = random_sets(rng, 8, 40, 2, people=5, cameras=3)
    if person_zero:
        query.pids[0] = 0
    own, shown = draw_gallery(rng, query, gallery, camera_rule)
    assert (np.diff(shown) > 0).all()
    drawn = gallery.pids[shown]
    for pid in np.unique(gallery.pids):
        all_of_nobody = pid == 0 and not person_zero
        assert (drawn == pid).sum() == ((gallery.pids == 0).sum() if all_of_nobody else 1)
    same = query.pids[:, None] == gallery.pids
    left = same & ~(camera_rule & (query.camids[:, None] == gallery.camids))
    for row in range(8):
        assert left[row, own[row]] if own[row] >= 0 else not left[row].any()
        if own[row] >= 0 and not camera_rule:
            assert own[row] in shown


def test_every_image_is_drawn_equally_often():
    gallery = EmbeddingSet(
        np.eye(7), np.array([1, 1, 1, 1, 2, 2, 3]), np.array([1, 2, 3, 3] * 2)[:7]
    )
    query = EmbeddingSet(np.ones((1, 7)), np.array([1]), np.array([1]))
    rng = np.random.default_rng(1)
    own_counts, shown_counts = np.zeros(7), np.zeros(7)
    for _ in range(3000):
        own, shown = draw_gallery(rng, query, gallery, camera_rule=True)
        own_counts[own] += 1
        shown_counts[shown] += 1
    # Five standard errors of a share of a third in 3000 draws are 4.3 %.
    np.testing.assert_allclose(own_counts[1:4] / 3000, 1 / 3, atol=0.043)
    assert own_counts.sum() == 3000
    assert own_counts[1:4].sum() == 3000  # image 0 is from the query's own camera
    np.testing.assert_allclose(shown_counts / 3000, [1 / 4] * 4 + [1 / 2] * 2 + [1], atol=0.046)


def test_figures_approach_their_expectation(both):
    query, gallery = both
    scores, left = closeness(query, gallery), own_rows(query, gallery)
    expected = []
    for row, pid in enumerate(query.pids):
        shares = []
        for own in np.flatnonzero(left[row]):
            behind = scores[row] < scores[row, own]
            others = [
                behind[gallery.pids == other].mean() for other in range(1, 31) if other != pid
            ]
            shares.append(np.prod(others))  # nobody else's drawn image is closer
        expected.append(np.mean(shares) if shares else np.nan)
    result = rank_single_shot(query, gallery, repeats=400)
    np.testing.assert_array_equal(result.valid, ~np.isnan(expected))
    # Per query, five standard errors of a share in 400 draws are at most 12.5 %.
    np.testing.assert_allclose(result.matched_within(1), expected, atol=0.125)
    assert result.cmc[1] == pytest.approx(np.nanmean(expected), abs=0.015)


@pytest.mark.skipif(not hasattr(np, "bool"), reason="torchreid uses np.bool; NumPy 1.26 has none")
def test_agrees_with_torchreid(both):
    query, gallery = both
    ours = rank_single_shot(query, gallery, repeats=300, ranks=range(1, 21))
    np.random.seed(0)  # noqa: NPY002 (torchreid draws from it)
    ids = query.pids, gallery.pids, query.camids, gallery.camids
    theirs = np.stack([eval_cuhk03(-closeness(query, gallery), *ids, 20)[0] for _ in range(10)])
    # Ten calls of ten draws each; their own spread says how far apart two means may lie.
    spread = theirs.std(axis=0, ddof=1) / np.sqrt(10)
    difference = np.abs(theirs.mean(axis=0) - list(ours.cmc.values()))
    assert (difference < 5 * spread + 0.01).all()


def test_one_image_a_person_leaves_nothing_to_draw(random_sets):
    rng = np.random.default_rng(2)
    query, _ = random_sets(rng, 30, 1, 5, people=20, cameras=2)
    gallery = EmbeddingSet(rng.standard_normal((40, 5)), np.r_[1:21, [0] * 20], np.full(40, 9))
    drawn = rank_single_shot(query, gallery, repeats=3, ranks=(1, 2, 5))
    plain = rank_gallery(query, gallery, ranks=(1, 2, 5))
    np.testing.assert_array_equal(drawn.first_rank, np.tile(plain.first_rank, (3, 1)))
    np.testing.assert_allclose(drawn.average_precision, plain.average_precision, rtol=1e-15)
    assert drawn.cmc == pytest.approx(plain.cmc)
    assert drawn.mINP == pytest.approx(plain.mINP)


def test_lists_are_those_of_the_whole_gallery(both):
    drawn, plain = rank_single_shot(*both, top_k=7), rank_gallery(*both, top_k=7)
    np.testing.assert_array_equal(drawn.topk_indices, plain.topk_indices)
    np.testing.assert_array_equal(drawn.topk_scores, plain.topk_scores)
    assert (drawn.num_gallery, drawn.index) == (plain.num_gallery, plain.index)


def test_the_result_says_how_it_was_drawn_and_repeats(both):
    result = rank_single_shot(*both, repeats=4, seed=3)
    assert result.protocol == Protocol(gallery="single-shot", repeats=4, seed=3)
    assert result.first_rank.shape == (4, 60)
    assert result.average_precision.shape == result.matched_within(1).shape == (60,)
    assert result.summary()["num_queries"] == 60
    assert result.summary()["num_valid_queries"] == result.valid.sum() < 60
    again = rank_single_shot(*both, repeats=4, seed=3)
    np.testing.assert_array_equal(again.first_rank, result.first_rank)
    other = rank_single_shot(*both, repeats=4, seed=4)
    assert (other.first_rank != result.first_rank).any()


def test_hits_are_shares_of_the_draws(both):
    result = rank_single_shot(*both, repeats=8)
    ranks = result.first_rank[:, result.valid]
    np.testing.assert_array_equal(
        result.matched_within(3)[result.valid], (ranks <= 3).sum(axis=0) / 8
    )
    assert np.isnan(result.matched_within(3)[~result.valid]).all()
    assert np.nanmean(result.matched_within(5)) == pytest.approx(result.cmc[5])
    plain = rank_gallery(*both)
    np.testing.assert_array_equal(
        plain.matched_within(1)[plain.valid], plain.first_rank[plain.valid] == 1
    )


def test_blocks_do_not_change_the_ranks(random_sets, monkeypatch):
    query, gallery = random_sets(np.random.default_rng(5), 90, 700, 16, people=150, cameras=3)
    gallery.embeddings[::7] = gallery.embeddings[0]
    whole = rank_single_shot(query, gallery, repeats=2, device="cpu")
    monkeypatch.setattr(single_shot, "_TILE", {"cpu": (16, 32)})
    parts = rank_single_shot(query, gallery, repeats=2, device="cpu")
    np.testing.assert_array_equal(parts.first_rank, whole.first_rank)


def test_embeddings_far_from_the_mean_are_ranked_exactly_beside_one_at_it():
    """Their distances differ by less than float32 resolves; those of the other do not."""
    rng = np.random.default_rng(4)
    rows = 1e3 * rng.standard_normal(64) + 1e-4 * rng.standard_normal((200, 64))
    rows[1::2] *= -1
    rows[0] = rows.mean(axis=0)
    gallery = EmbeddingSet(rows.astype(np.float32), np.arange(200), np.full(200, 2))
    query = EmbeddingSet(rng.standard_normal((20, 64)), np.arange(1, 21), np.full(20, 1))
    exact = [
        ((query.embeddings[row].astype(np.float64) - gallery.embeddings) ** 2).sum(axis=1)
        for row in range(20)
    ]
    ranks = [1 + (each < each[row]).sum() for row, each in enumerate(exact, 1)]
    result = rank_single_shot(query, gallery, metric="euclidean", repeats=1)
    np.testing.assert_array_equal(result.first_rank[0], ranks)


def test_bad_arguments_are_refused_by_name(both):
    query, gallery = both
    with pytest.raises(InputError, match="repeats is 0: give 1 or more"):
        rank_single_shot(query, gallery, repeats=0)
    with pytest.raises(InputError, match="seed is -1: give 0 or more"):
        rank_single_shot(query, gallery, seed=-1)
    with pytest.raises(InputError, match=r"ranks is \(0,\)"):
        rank_single_shot(query, gallery, ranks=(0,))
    with pytest.raises(InputError, match="metric is 'l2'"):
        rank_single_shot(query, gallery, metric="l2")
    one_camera = EmbeddingSet(gallery.embeddings, gallery.pids, np.ones(len(gallery), dtype=int))
    with pytest.raises(InputError, match="seen by one camera only"):
        rank_single_shot(query.select(query.camids == 1), one_camera)
    with pytest.raises(InputError, match="gallery is 'one'; choose one of all, single-shot"):
        Protocol(gallery="one")
    with pytest.raises(InputError, match="repeats is None: give 1 or more"):
        Protocol(gallery="single-shot", seed=0)
    with pytest.raises(InputError, match="seed is 0 but the gallery is all"):
        Protocol(seed=0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_a_gpu_gives_the_same_ranks(random_sets, metric):
    query, gallery = random_sets(np.random.default_rng(6), 400, 9000, 128, people=3000, cameras=4)
    gallery.embeddings[::5] = gallery.embeddings[0]
    cpu, gpu = (
        rank_single_shot(query, gallery, metric=metric, device=device) for device in ("cpu", "cuda")
    )
    np.testing.assert_array_equal(gpu.first_rank, cpu.first_rank)
