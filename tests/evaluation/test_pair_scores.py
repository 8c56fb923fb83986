"""Pairs of images: exact counts, thresholds that keep their word, and match probability."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from reid_dhm.errors import InputError
from reid_dhm.evaluation import pair_counts
from reid_dhm.evaluation import pair_scores as scoring
from reid_dhm.evaluation.calibration import Calibration, threshold_text
from reid_dhm.evaluation.pair_scores import PairScores, pair_scores
from reid_dhm.retrieval.embeddings import EmbeddingSet


def all_scores(query, gallery, metric):
    """(Q, G) float64 from the definition."""
    left, right = query.embeddings.astype(np.float64), gallery.embeddings.astype(np.float64)
    if metric == "euclidean":
        return -np.sqrt(((left[:, None] - right[None]) ** 2).sum(2))
    left /= np.linalg.norm(left, axis=1, keepdims=True)
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    return (left[:, None] * right[None]).sum(2)


def on_a_grid(same, different, size=1001) -> PairScores:
    """Scores from 0 to 1 counted by NumPy; the last step holds its upper end."""
    edges = np.linspace(0, 1, size + 1)
    counts = (np.histogram(scores, edges)[0] for scores in (same, different))
    return PairScores("cosine", edges, *counts)


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    num_query=st.integers(1, 12),
    num_gallery=st.integers(2, 40),
    dim=st.integers(1, 8),
    people=st.integers(1, 6),
    cameras=st.integers(1, 3),
    metric=st.sampled_from(["cosine", "euclidean"]),
    camera_rule=st.booleans(),
    # Small whole numbers bring equal images and distances that are 0 or on the grid.
    values=st.sampled_from([None, [-1, 1], [1, 2, 3]]),
)
def test_every_pair_of_the_protocol_is_counted_where_its_score_lies(
    random_sets, seed, num_query, num_gallery, dim, people, cameras, metric, camera_rule, values
):
    query, gallery = random_sets(
        np.random.default_rng(seed), num_query, num_gallery, dim, people, cameras, values
    )
    scores = all_scores(query, gallery, metric)
    same = query.pids[:, None] == gallery.pids
    kept = ~(same & camera_rule & (query.camids[:, None] == gallery.camids))
    if not (same & kept).any():
        with pytest.raises(InputError, match="no query has a correct gallery image"):
            pair_scores(query, gallery, metric=metric, camera_rule=camera_rule)
        return
    if same.all():
        with pytest.raises(InputError, match="images show one person"):
            pair_scores(query, gallery, metric=metric, camera_rule=camera_rule)
        return
    found = pair_scores(query, gallery, metric=metric, camera_rule=camera_rule)
    assert found.metric == metric
    for counts, chosen in ((found.same, same & kept), (found.different, ~same)):
        low, high = (
            np.searchsorted(found.edges, scores[chosen] * (1 + sign * 1e-13), "right") - 1
            for sign in (-1, 1)
        )
        assert (low == high).all()  # no score is so near an edge that rounding decides
        np.testing.assert_array_equal(counts, np.bincount(low, minlength=len(counts)))


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_counts_do_not_depend_on_blocks_nor_on_what_rounding_leaves_open(
    random_sets, metric, monkeypatch
):
    query, gallery = random_sets(np.random.default_rng(0), 70, 300, 64, people=9, cameras=3)
    gallery.embeddings[50:60] = query.embeddings[:10]
    whole = pair_scores(query, gallery, metric=metric, device="cpu")
    monkeypatch.setattr(pair_counts, "_TILE", {"cpu": (16, 32)})
    # Rounding as large as two steps of the grid leaves every pair to its exact score.
    monkeypatch.setattr(pair_counts, "_ROUNDING", 2.0**-15)
    open_to_all = pair_scores(query, gallery, metric=metric, device="cpu")
    np.testing.assert_array_equal(open_to_all.edges, whole.edges)
    np.testing.assert_array_equal(open_to_all.same, whole.same)
    np.testing.assert_array_equal(open_to_all.different, whole.different)


def test_a_score_on_an_edge_belongs_to_the_step_above():
    for grid in (pair_counts.Grid.of(-1.0, 1.0), pair_counts.Grid.of(-3.7, 0.0)):
        steps = grid.step(torch.from_numpy(grid.edges[:-1]))
        assert steps.tolist() == list(range(grid.size))
        below = grid.step(torch.from_numpy(np.nextafter(grid.edges[1:], -np.inf)))
        assert below.tolist() == list(range(grid.size))


def test_equal_images_have_the_highest_score():
    rows = np.random.default_rng(1).standard_normal((6, 33)).astype(np.float32)
    pids, cameras = np.arange(1, 7), np.zeros(6, dtype=int)
    query, gallery = EmbeddingSet(rows, pids, cameras), EmbeddingSet(rows, pids, cameras + 1)
    for metric in ("cosine", "euclidean"):
        found = pair_scores(query, gallery, metric=metric)
        assert found.same[-1] == found.same.sum() == 6
        assert found.edges[-2] < (1 if metric == "cosine" else 0) < found.edges[-1]


def test_one_image_only_and_rows_of_no_length_are_counted():
    query = EmbeddingSet(np.zeros((2, 3)), np.array([1, 2]), np.array([1, 1]))
    gallery = EmbeddingSet(np.zeros((1, 3)), np.array([1]), np.array([2]))
    found = pair_scores(query, gallery, metric="euclidean")
    assert (found.same[-1], found.different[-1]) == (1, 1)
    with pytest.raises(InputError, match="gallery embeddings row 0 is zero"):
        pair_scores(query, gallery)


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    num_same=st.integers(1, 50),
    num_different=st.integers(1, 3000),
    separation=st.floats(0, 0.5),
    rates=st.lists(st.floats(1e-5, 0.99), max_size=4),
)
def test_a_threshold_keeps_its_rate_and_the_one_below_does_not(
    seed, num_same, num_different, separation, rates
):
    rng = np.random.default_rng(seed)
    same = np.clip(rng.normal(0.4 + separation, 0.1, num_same), 0, 1)
    different = np.clip(rng.normal(0.4, 0.1, num_different), 0, 1)
    scores = on_a_grid(same, different)
    points = scores.operating_points(rates)
    assert [point.asked for point in points] == [r for r in rates if num_different >= 1 / r]
    for point in points:
        assert point.false_positive_rate == (different >= point.threshold).mean() <= point.asked
        assert point.true_positive_rate == (same >= point.threshold).mean()
        below = scores.edges[scores.edges < point.threshold]
        assert len(below) == 0 or (different >= below[-1]).mean() > point.asked


def test_a_rate_that_even_the_highest_scores_exceed_gets_a_threshold_above_them():
    rows = np.ones((40, 4), dtype=np.float32)
    query = EmbeddingSet(rows, np.arange(1, 41), np.zeros(40, dtype=int))
    gallery = EmbeddingSet(rows, np.arange(1, 41), np.ones(40, dtype=int))
    (point,) = pair_scores(query, gallery).operating_points([0.01])
    assert point.threshold > 1
    assert (point.false_positive_rate, point.true_positive_rate) == (0, 0)


def test_the_roc_lies_on_the_curve_and_is_even_on_a_log_axis():
    rng = np.random.default_rng(2)
    same, different = rng.beta(6, 3, 4000), rng.beta(3, 6, 300_000)
    scores = on_a_grid(same, different, size=2000)
    false, true = scores.roc(num=50)
    assert (np.diff(false) > 0).all()
    assert (np.diff(true) >= 0).all()
    assert (false[-1], true[-1]) == (1, 1)
    assert 0 < false[0] <= 2 / 300_000
    # 50 points over 5.5 decades are a factor of 1.3 apart; where few pairs are, one more.
    assert (false[1:] / false[:-1] < 2.1).all()
    assert len(false) > 40
    curve = {((different >= edge).mean(), (same >= edge).mean()) for edge in scores.edges}
    assert set(zip(false, true, strict=True)) <= curve
    steps = np.diff(false, prepend=0)
    area = (steps * (true + np.r_[0, true[:-1]]) / 2).sum()
    labels = np.r_[np.ones(4000), np.zeros(300_000)]
    assert area == pytest.approx(roc_auc_score(labels, np.r_[same, different]), abs=2e-3)


def test_the_histogram_spans_the_scores_that_occur_with_areas_of_one():
    rng = np.random.default_rng(3)
    same, different = rng.uniform(0.5, 0.8, 5000), rng.uniform(0.2, 0.6, 9000)
    edges, one, two = on_a_grid(same, different).histogram(bins=30)
    assert len(one) == len(two) == len(edges) - 1 == 30
    assert (edges[0], edges[-1]) == pytest.approx((0.2, 0.8), abs=2e-3)
    assert (one * np.diff(edges)).sum() == pytest.approx(1)
    assert (two * np.diff(edges)).sum() == pytest.approx(1)
    expected, _ = np.histogram(same, edges, density=True)
    np.testing.assert_allclose(one, expected, rtol=1e-9)
    two_steps = on_a_grid([501.5 / 1001], [500.5 / 1001])
    few, one, two = two_steps.histogram(bins=30)
    np.testing.assert_array_equal(few, two_steps.edges[500:503])
    np.testing.assert_allclose([one, two], [[0, 1001], [1001, 0]])
    with pytest.raises(InputError, match="bins is 0"):
        on_a_grid(same, different).histogram(0)


@pytest.mark.parametrize("prior", [0.5, 0.01])
def test_calibration_recovers_the_probability_of_two_normal_distributions(prior):
    # For N(m1, s²) and N(m0, s²) the log odds are linear: ((m1 - m0) x - (m1² - m0²) / 2) / s².
    high, low, spread = 0.6, 0.3, 0.08
    rng = np.random.default_rng(4)
    scores = on_a_grid(rng.normal(high, spread, 200_000), rng.normal(low, spread, 300_000), 4000)
    found = scores.calibrate(prior)
    at = np.linspace(0.3, 0.6, 7)
    log_odds = ((high - low) * at - (high**2 - low**2) / 2) / spread**2
    log_odds += np.log(prior / (1 - prior))
    np.testing.assert_allclose(found.probability(at), 1 / (1 + np.exp(-log_odds)), atol=0.01)
    assert found.slope == pytest.approx((high - low) / spread**2, rel=0.03)
    assert found.prior == prior


@pytest.mark.parametrize("prior", [0.5, 0.01, 1e-6])
def test_another_prior_multiplies_the_odds_by_as_much(prior):
    before = Calibration(slope=7.0, intercept=-2.0, prior=0.2)
    after = before.with_prior(prior)
    scores = np.linspace(-1, 1, 9)
    odds = before.probability(scores) / (1 - before.probability(scores))
    odds *= (prior / (1 - prior)) / (0.2 / 0.8)
    np.testing.assert_allclose(after.probability(scores), odds / (1 + odds))
    assert (after.slope, after.prior) == (7.0, prior)


def test_calibration_is_logistic_regression_with_both_kinds_reweighted():
    rng = np.random.default_rng(5)
    same, different = rng.beta(5, 2, 300), rng.beta(2, 3, 5000)
    scores = on_a_grid(same, different, size=100_000)
    found = scores.calibrate(prior=0.2)
    weights = np.r_[np.full(300, 0.2 / 300), np.full(5000, 0.8 / 5000)] * 5300
    labels = np.r_[np.ones(300), np.zeros(5000)]
    peer = LogisticRegression(C=1e9, tol=1e-10, max_iter=1000)
    peer.fit(np.r_[same, different][:, None], labels, sample_weight=weights)
    assert found.slope == pytest.approx(peer.coef_[0, 0], rel=1e-3)
    assert found.intercept == pytest.approx(peer.intercept_[0], rel=1e-3)


def test_calibration_of_scores_that_a_threshold_separates_stays_finite():
    scores = on_a_grid(np.linspace(0.7, 0.9, 50), np.linspace(0.1, 0.3, 500))
    found = scores.calibrate()
    probability = found.probability(np.array([0.3, 0.5, 0.7]))
    assert np.isfinite([found.slope, found.intercept]).all()
    assert probability[0] < 1e-3
    assert probability[1] == pytest.approx(0.5, abs=0.1)
    assert probability[2] > 1 - 1e-3
    alike = on_a_grid([0.5], [0.5] * 9).calibrate(prior=0.3)
    assert alike.probability(0.5) == pytest.approx(0.3, abs=1e-6)


def test_the_penalty_decides_where_a_threshold_separates_two_scores():
    scores = on_a_grid([0.7], [0.3])
    high, low = scores.centres[scores.same > 0].item(), scores.centres[scores.different > 0].item()
    # At ±1 spread, the loss log(1 + exp(-a)) + p a² / 2 is least where 1 / (1 + exp(a)) = p a.
    root = brentq(lambda a: 1 / (1 + np.exp(a)) - scoring._PENALTY * a, 1, 100)
    found = scores.calibrate()
    assert found.slope * (high - low) / 2 == pytest.approx(root, rel=1e-3)
    assert found.probability((high + low) / 2) == pytest.approx(0.5)


def test_bad_arguments_are_refused_by_name(random_sets):
    query, gallery = random_sets(np.random.default_rng(6), 5, 40, 4, people=3, cameras=3)
    scores = pair_scores(query, gallery)
    for rate in (0, 1, -0.1):
        with pytest.raises(InputError, match=f"false-positive rate is {rate}"):
            scores.operating_points([rate])
    for prior in (0, 1):
        with pytest.raises(InputError, match=f"prior is {prior}"):
            scores.calibrate(prior)
    with pytest.raises(InputError, match="metric is 'l2'"):
        pair_scores(query, gallery, metric="l2")
    narrow = EmbeddingSet(query.embeddings[:, :3], query.pids, query.camids)
    with pytest.raises(InputError, match="3 dimensions and gallery embeddings 4"):
        pair_scores(narrow, gallery)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_a_gpu_counts_the_same(random_sets, metric):
    query, gallery = random_sets(np.random.default_rng(7), 500, 9000, 256, people=70, cameras=4)
    gallery.embeddings[:500] = query.embeddings
    cpu = pair_scores(query, gallery, metric=metric, device="cpu")
    gpu = pair_scores(query, gallery, metric=metric, device="cuda")
    np.testing.assert_allclose(gpu.edges, cpu.edges, rtol=1e-12)
    np.testing.assert_array_equal(gpu.same, cpu.same)
    np.testing.assert_array_equal(gpu.different, cpu.different)


@pytest.mark.parametrize(
    ("threshold", "metric", "shown"),
    [
        (0.58024597, "cosine", "0.5803"),
        (0.5, "cosine", "0.5000"),
        (-0.12341, "cosine", "-0.1234"),
        (-3.14159, "euclidean", "3.1415"),
        (0.00001, "cosine", "0.0001"),
    ],
)
def test_a_threshold_is_written_so_that_no_more_pairs_pass(threshold, metric, shown):
    assert threshold_text(threshold, metric) == shown
    assert (1 if metric == "cosine" else -1) * float(shown) >= threshold
