from math import nan

import numpy as np
import pytest

from reid_dhm.gallery.footage.clock import frame_times, plausible_rate


def times(told: list[float], step: float = 0.1) -> list[float]:
    return [time for _, time in frame_times([(None, clock) for clock in told], step)]


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ([5.0, 5.1, 5.2, 5.3], [0, 0.1, 0.2, 0.3]),  # counted from the first frame
        ([0.0, 0.0, 0.0, 0.0], [0, 0.1, 0.2, 0.3]),  # a clock that stands still
        ([0.0, 0.25, 0.2, 0.5], [0, 0.25, 0.35, 0.5]),  # one wrong timestamp, backwards
        ([0.0, 1e6, 0.2, 0.3], [0, 0.1, 0.2, 0.3]),  # one wrong timestamp, forwards
        ([0.0, nan, 0.2, 0.3], [0, 0.1, 0.2, 0.3]),
        ([nan, nan, nan], [0, 0.1, 0.2]),
        ([nan, 7.0, 7.3], [0, 0.1, 0.4]),
        ([0.0, 0.1, 62.0, 62.1], [0, 0.1, 62.0, 62.1]),  # a pause in the recording
        ([0.0, 0.1, 62.0], [0, 0.1, 0.2]),  # nothing confirms the last timestamp
        ([0.0, 0.1, 1e9, 1e9 + 0.3, 1e9 + 0.4], [0, 0.1, 0.2, 0.5, 0.6]),  # the clock was set
        ([4.0, 4.1, 0.0, 0.1, 0.3], [0, 0.1, 0.2, 0.3, 0.5]),  # two recordings in one file
    ],
)
def test_timestamps_are_used_where_they_are_plausible(told, expected):
    np.testing.assert_allclose(times(told), expected, atol=1e-6)


def test_times_always_increase():
    random = np.random.default_rng(0)
    for _ in range(200):
        told = random.choice([0, 0.1, 5, 62, -3, 1e9, nan], 30) + np.arange(30) * 0.1
        found = times(told.tolist())
        assert found[0] == 0
        assert (np.diff(found) > 0).all()


@pytest.mark.parametrize(
    ("claimed", "step", "expected"),
    [
        (25.0, 0.04, 25.0),
        (29.97, 1 / 30, 29.97),
        (1000.0, 0.04, 25.0),  # WebM of a browser, without a rate
        (90000.0, 0.04, 25.0),
        (nan, 0.04, 25.0),
        (0.0, 0.04, 25.0),
        (50.0, 0.04, 25.0),  # fields, not frames
        (12.5, 0.04, 25.0),
    ],
)
def test_a_rate_that_the_frames_contradict_is_measured(claimed, step, expected):
    assert plausible_rate(claimed, [5 + step * n for n in range(40)]) == pytest.approx(expected)


def test_a_rate_without_timestamps_is_the_claimed_one_if_that_is_possible():
    assert plausible_rate(12.0, []) == 12.0
    assert plausible_rate(90000.0, []) == 25.0


def test_a_pause_does_not_count_in_the_rate():
    assert plausible_rate(0, [0, 0.1, 0.2, 60.2, 60.3, 60.4]) == pytest.approx(10)
