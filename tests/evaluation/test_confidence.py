"""Bootstrap intervals: what they cover, what they resample, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest

from reid_dhm.errors import InputError
from reid_dhm.evaluation.confidence import intervals, paired_differences
from reid_dhm.retrieval.protocol import Protocol
from reid_dhm.retrieval.results import RetrievalResult


def result_of(ap, first_rank=None, inp=None, protocol=None) -> RetrievalResult:
    """A result of queries with the given AP; NaN makes a query invalid."""
    ap = np.asarray(ap, dtype=float)
    if first_rank is None:
        first_rank = np.where(np.isnan(ap), 0, np.where(ap > 0.5, 1, 2))
    return RetrievalResult(
        protocol=protocol or Protocol(),
        num_gallery=100,
        average_precision=ap,
        inverse_negative_penalty=ap if inp is None else np.asarray(inp, dtype=float),
        first_rank=np.asarray(first_rank),
        topk_indices=np.zeros((len(ap), 1), dtype=np.int64),
        topk_scores=np.zeros((len(ap), 1)),
        ranks=(1, 5),
        index="IndexFlat",
        device="cpu",
    )


def population(rng, people):
    """Queries of people who differ: pids and APs alike within a person; the mean AP is 1/2."""
    pids = np.repeat(np.arange(people), 4)
    difficulty = rng.random(people)
    return pids, np.clip(difficulty[pids], 1e-6, 1)


@pytest.fixture
def sample():
    rng = np.random.default_rng(0)
    pids = rng.integers(1, 31, 120)
    ap = rng.random(120)
    ap[5] = np.nan
    return pids, result_of(ap, inp=ap / 2)


def test_values_are_those_of_the_result(sample):
    pids, result = sample
    found = intervals(result, pids)
    assert list(found) == ["mAP", "mINP", "rank1"]
    assert found["mAP"].value == pytest.approx(result.mAP, abs=1e-12)
    assert found["mINP"].value == pytest.approx(result.mINP, abs=1e-12)
    assert found["rank1"].value == pytest.approx(result.cmc[1], abs=1e-12)
    assert all(one.low < one.value < one.high and one.level == 0.95 for one in found.values())


@pytest.mark.parametrize("level", [0.5, 0.95])
def test_ends_are_the_quantiles_of_a_plain_bootstrap_over_people(sample, level):
    pids, result = sample
    rng = np.random.default_rng(1)
    people = [np.flatnonzero((pids == pid) & result.valid) for pid in np.unique(pids)]
    means = []
    for _ in range(20_000):
        drawn = np.concatenate([people[i] for i in rng.integers(0, len(people), len(people))])
        means.append(result.average_precision[drawn].mean())
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    found = intervals(result, pids, level=level, resamples=20_000)["mAP"]
    # A quantile of 20,000 means is uncertain by about a hundredth of the interval.
    assert found.low == pytest.approx(low, abs=0.03 * (high - low))
    assert found.high == pytest.approx(high, abs=0.03 * (high - low))


def test_the_interval_covers_the_value_of_the_population_as_often_as_it_says():
    trials, covered = 300, 0
    for seed in range(trials):
        pids, ap = population(np.random.default_rng(seed), people=60)
        found = intervals(result_of(ap), pids, level=0.9, resamples=500, seed=seed)["mAP"]
        covered += found.low <= 0.5 <= found.high
    # Of a true 90 %, five standard errors of 300 trials are 8.7 %.
    assert covered / trials == pytest.approx(0.9, abs=0.087)


def test_people_are_resampled_and_not_queries():
    pids, ap = population(np.random.default_rng(3), people=50)
    by_person = intervals(result_of(ap), pids)["mAP"]
    by_query = intervals(result_of(ap), np.arange(len(pids)))["mAP"]
    # Four queries that are answered alike tell as much as one: the width is twice √(1/4n).
    ratio = (by_person.high - by_person.low) / (by_query.high - by_query.low)
    assert ratio == pytest.approx(2, abs=0.2)


def test_batches_do_not_change_the_interval(sample, monkeypatch):
    pids, result = sample
    whole = intervals(result, pids, seed=4)
    monkeypatch.setattr("reid_dhm.evaluation.confidence._BATCH", 30 * 7)
    assert intervals(result, pids, seed=4) == whole
    assert intervals(result, pids, seed=5) != whole


def test_perfect_answers_have_no_interval_to_speak_of():
    found = intervals(result_of(np.ones(12)), np.repeat([1, 2, 3], 4))
    assert {(one.value, one.low, one.high) for one in found.values()} == {(1.0, 1.0, 1.0)}


def test_one_person_says_nothing_of_others():
    pids, ap = np.full(4, 7), np.array([0.2, 0.4, 0.6, 0.8])
    found = intervals(result_of(ap), pids)["mAP"]
    assert (found.value, found.low, found.high) == (pytest.approx(0.5), 0.0, 1.0)
    both = paired_differences(result_of(ap), result_of(ap / 2), pids)["mAP"]
    assert (both.value, both.low, both.high) == (pytest.approx(0.25), -1.0, 1.0)


def test_the_interval_holds_the_value_even_at_a_tiny_level():
    rng = np.random.default_rng(0)
    pids, ap = np.arange(8), rng.random(8) ** 6
    for seed in range(20):
        found = intervals(result_of(ap), pids, level=0.01, resamples=50, seed=seed)
        assert all(one.low <= one.value <= one.high for one in found.values())


def test_paired_differences_of_runs_alike_are_tighter_than_their_intervals():
    rng = np.random.default_rng(6)
    pids, ap = population(rng, people=80)
    better = np.clip(ap + 0.05 + rng.normal(0, 0.02, len(ap)), 1e-6, 1)
    first, second = result_of(better), result_of(ap)
    found = paired_differences(first, second, pids)
    assert found["mAP"].value == pytest.approx(first.mAP - second.mAP)
    assert found["rank1"].value == pytest.approx(first.cmc[1] - second.cmc[1])
    assert found["mAP"].low > 0  # although the two intervals overlap
    one, two = intervals(first, pids)["mAP"], intervals(second, pids)["mAP"]
    assert two.high > one.low
    assert found["mAP"].high - found["mAP"].low < (one.high - one.low) / 4


def test_a_run_does_not_differ_from_itself_and_sides_change_the_sign(sample):
    pids, result = sample
    other = result_of(result.average_precision**2)
    same = paired_differences(result, result, pids)
    assert {(one.value, one.low, one.high) for one in same.values()} == {(0.0, 0.0, 0.0)}
    there = paired_differences(result, other, pids)["mAP"]
    back = paired_differences(other, result, pids)["mAP"]
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low), abs=2e-3)
    assert there.value == pytest.approx(-back.value)


def test_draws_of_the_gallery_count_by_their_share():
    first_rank = np.array([[1, 2, 0, 1], [1, 1, 0, 3]])
    protocol = Protocol(gallery="single-shot", repeats=2, seed=0)
    ap = np.array([1, 0.75, np.nan, 2 / 3])
    result = result_of(ap, first_rank, protocol=protocol)
    found = intervals(result, np.array([1, 2, 3, 4]))
    assert found["rank1"].value == pytest.approx((1 + 1 / 2 + 1 / 2) / 3)


def test_what_cannot_be_compared_is_refused(sample):
    pids, result = sample
    short = result_of(result.average_precision[:-1])
    with pytest.raises(InputError, match=r"120 queries and the second 119"):
        paired_differences(result, short, pids)
    ap = result.average_precision.copy()
    ap[9] = np.nan
    with pytest.raises(InputError, match=r"query 9 has a correct .* in one result"):
        paired_differences(result, result_of(ap), pids)
    other = result_of(result.average_precision, protocol=Protocol(ap="trapezoid"))
    with pytest.raises(InputError, match=r"ap 'standard' and the second 'trapezoid'"):
        paired_differences(result, other, pids)
    euclidean = result_of(result.average_precision, protocol=Protocol("euclidean"))
    assert paired_differences(result, euclidean, pids)["mAP"].value == 0


def test_bad_arguments_are_refused_by_name(sample):
    pids, result = sample
    with pytest.raises(InputError, match="119 pids were given for 120 queries"):
        intervals(result, pids[1:])
    for level in (0, 1, 95):
        with pytest.raises(InputError, match=f"level is {level}"):
            intervals(result, pids, level=level)
    with pytest.raises(InputError, match="resamples is 0"):
        intervals(result, pids, resamples=0)
