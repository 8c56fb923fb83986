import numpy as np
import pytest

from reid_dhm.errors import InputError
from reid_dhm.evaluation.repeats import QueryFigures, mean_and_deviation, repeated_differences


def figures(values: list[list[float]], clusters: list[int]) -> QueryFigures:
    names = ("mAP", "rank1")[: len(values)]
    return QueryFigures(names, np.array(values, np.float64), np.array(clusters))


def test_mean_and_deviation_between_seeds():
    assert mean_and_deviation([0.5, 0.7, 0.9]) == (pytest.approx(0.7), pytest.approx(0.2))
    assert mean_and_deviation([0.5]) == (0.5, None)


def test_the_value_is_the_mean_difference_over_queries_and_seeds():
    ours = [figures([[1, 0, 1, 1], [1, 1, 1, 1]], [1, 1, 2, 3]) for _ in range(2)]
    theirs = [figures([[0, 0, 1, 0], [1, 1, 1, s]], [1, 1, 2, 3]) for s in (0, 1)]
    found = repeated_differences(ours, theirs)
    assert found["mAP"].value == pytest.approx(0.5)
    assert found["rank1"].value == pytest.approx(1 / 8)
    assert found["mAP"].low <= 0.5 <= found["mAP"].high


def test_equal_runs_differ_by_nothing():
    runs = [figures([[0.2, 0.4, 0.9]], [1, 2, 2])] * 3
    found = repeated_differences(runs, runs)["mAP"]
    assert (found.value, found.low, found.high) == (0, 0, 0)


def test_one_pair_of_runs_has_the_interval_over_people_alone():
    """The cluster bootstrap, written out with loops."""
    random = np.random.default_rng(0)
    clusters = random.integers(0, 12, 60)
    ours, theirs = random.random(60), random.random(60)
    found = repeated_differences(
        [figures([ours.tolist()], clusters.tolist())],
        [figures([theirs.tolist()], clusters.tolist())],
        resamples=3000,
    )["mAP"]
    draws, people = [], np.unique(clusters)
    for _ in range(3000):
        rows = np.concatenate([np.flatnonzero(clusters == p) for p in random.choice(people, 12)])
        draws.append((ours - theirs)[rows].mean())
    low, high = np.quantile(draws, [0.025, 0.975])
    assert found.low == pytest.approx(low, abs=0.02)
    assert found.high == pytest.approx(high, abs=0.02)


def test_seeds_that_disagree_widen_the_interval():
    clusters = list(range(40))
    zero = figures([[0.0] * 40], clusters)
    steady = repeated_differences([figures([[0.1] * 40], clusters)] * 3, [zero] * 3)["mAP"]
    torn = repeated_differences(
        [figures([[value] * 40], clusters) for value in (-0.2, 0.1, 0.4)], [zero] * 3
    )["mAP"]
    assert (steady.value, torn.value) == (pytest.approx(0.1), pytest.approx(0.1))
    assert (steady.low, steady.high) == (pytest.approx(0.1), pytest.approx(0.1))
    # a mean of three draws among -0.2, 0.1, 0.4 is -0.2 or 0.4 once in 27 times each
    assert (torn.low, torn.high) == (pytest.approx(-0.2), pytest.approx(0.4))


def test_people_of_joined_sets_stay_apart():
    joined = QueryFigures.joined([figures([[1, 0]], [7, 7]), figures([[1, 1]], [7, 8])])
    assert joined.clusters.tolist() == [0, 0, 1, 2]
    assert joined.means() == {"mAP": 0.75}


@pytest.mark.parametrize(
    ("ours", "theirs", "message"),
    [
        ([[1, 2]], [[1, 2]] * 2, "1 runs cannot be paired with 2"),
        ([], [], "0 runs cannot be paired with 0"),
        ([[1, 2]], [[1, 3]], "evaluated on different images"),
    ],
)
def test_what_cannot_be_paired_is_refused(ours, theirs, message):
    first, second = (
        [figures([[0.5, 0.5]], clusters) for clusters in sets] for sets in (ours, theirs)
    )
    with pytest.raises(InputError, match=message):
        repeated_differences(first, second)
