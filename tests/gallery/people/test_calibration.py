"""Match probabilities from pairs without labels, against truth that only the test knows."""

import dataclasses

import numpy as np
import pytest

from reid_dhm.gallery.people.evidence import ENDPOINT, Appearances
from reid_dhm.gallery.people.pairs import Encounters
from reid_dhm.gallery.people.thresholds.calibration import calibrate
from reid_dhm.gallery.people.thresholds.two_groups import fit_two_groups

EDGES = np.linspace(-1, 1.8, 561)


def test_the_fitted_probability_is_that_of_the_truth():
    rng = np.random.default_rng(0)
    two, one = rng.normal(0.1, 0.1, 100_000), rng.normal(0.5, 0.1, 3_000)
    mixture = np.histogram(np.concatenate([two, one]), EDGES)[0]
    found = fit_two_groups(EDGES, rng.normal(0.1, 0.1, 5_000), mixture)
    slope = (0.5 - 0.1) / 0.1**2  # of the log likelihood ratio of two normal distributions
    half = 0.3 - np.log(3_000 / 100_000) / slope
    assert found.calibration.prior == pytest.approx(3 / 103, rel=0.2)
    assert found.calibration.probability(half) == pytest.approx(0.5, abs=0.15)
    often = found.pairs > 100
    assert np.abs(found.stated - found.counted.clip(0, 1))[often].mean() < 0.1


def test_without_one_persons_pairs_there_is_no_probability():
    rng = np.random.default_rng(0)
    mixture = np.histogram(rng.normal(0.1, 0.1, 100_000), EDGES)[0]
    assert fit_two_groups(EDGES, rng.normal(0.1, 0.1, 5_000), mixture) is None


def _gallery(num_people=150, views=8, cameras=2, dim=64, seed=0):
    """Tracklets of people by the minute, and their people; six at a time are in view at once."""
    rng = np.random.default_rng(seed)
    people = np.concatenate([rng.permutation(num_people) for _ in range(views)])
    camera = np.repeat(np.arange(views) % cameras, num_people)
    light = 0.8 * rng.standard_normal((cameras, dim))
    means = rng.standard_normal((num_people, dim))[people] + light[camera]
    means += 0.8 * rng.standard_normal(means.shape)
    means = (means / np.linalg.norm(means, axis=1, keepdims=True)).astype(np.float32)
    count = len(people)
    group = np.arange(count) // 6
    first, second = np.triu_indices(count, 1)
    at_once = group[first] == group[second]
    first, second = first[at_once], second[at_once]
    frames = np.full(len(first), 5)
    starts = 60.0 * group
    ends = np.zeros(count, ENDPOINT)
    given = Appearances(
        keys=np.arange(1, count + 1),
        cameras=camera + 1,
        clocks=np.zeros(count, np.int64),
        starts=starts,
        ends=starts + 50,
        means=means,
        entries=ends,
        exits=ends,
        persons=np.full(count, -1),
        together=Encounters(first, second, frames, frames, 0 * frames),
    )
    return given, people


def test_stated_probabilities_are_true_within_a_camera_and_across():
    given, people = _gallery()
    thresholds = calibrate(given)
    assert thresholds.negatives == len(given.together.first)
    for pair in ((1, 1), (1, 2)):
        rows, columns = (np.flatnonzero(given.cameras == camera) for camera in pair)
        cosines = given.means[rows] @ given.means[columns].T
        same = people[rows][:, None] == people[columns]
        stated = thresholds.probability(cosines, *pair)
        unknown = given.starts[rows][:, None] != given.starts[columns]
        likely = (stated > 0.5) & unknown
        assert likely.sum() > 100
        assert same[likely].mean() == pytest.approx(stated[likely].mean(), abs=0.1)
        assert same[stated < 0.1].mean() < 0.05


def test_too_few_encounters_give_no_probability():
    given, _ = _gallery()
    few = Encounters(*(column[:99] for column in given.together))
    thresholds = calibrate(dataclasses.replace(given, together=few))
    assert thresholds.negatives == 99
    assert thresholds.probability(np.array([0.9]), 1, 1) is None
