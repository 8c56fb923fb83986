"""Stated match probabilities against counted ones."""

import numpy as np

from reid_dhm.evaluation.calibration import Calibration
from reid_dhm.gallery.people.thresholds.calibration import PeopleThresholds
from reid_dhm.gallery.people.thresholds.reliability import draw_reliability, reliability
from reid_dhm.gallery.people.thresholds.two_groups import TwoGroups


def test_bins_of_one_tenth_are_weighed_by_their_pairs():
    fit = TwoGroups(
        Calibration(10.0, -5.0, 0.1), 425, 1000,
        stated=np.array([0.01, 0.02, 0.03, 0.55, 0.95, 0.99]),
        counted=np.array([0.3, -0.1, np.nan, 0.5, 0.9, 1.0]),
        pairs=np.array([100, 300, 0, 10, 30, 10]),
    )  # fmt: skip
    points = reliability(PeopleThresholds({}, within=fit))
    assert [(p.stated, p.counted, p.pairs) for p in points] == [
        (0.0175, 0.0, 400),  # noise below 0 counts against noise above it
        (0.55, 0.5, 10),
        (0.96, 0.925, 40),
    ]
    drawing = draw_reliability(points)
    assert "stated 55%, counted 50% of 10" in drawing.words
    assert "tracklets of one camera (450 pairs)" in drawing.svg
    assert reliability(PeopleThresholds({})) == []
