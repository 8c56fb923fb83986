"""Movement between tracklets of one view: who walked on, and who cannot have come so far."""

import numpy as np

from reid_dhm.gallery.people.evidence import ENDPOINT, Appearances, endpoints
from reid_dhm.gallery.people.graph.motion import movements
from reid_dhm.gallery.records import DETECTION


def _walk(start, end, x, speed, video=1):
    """A tracklet that walks to the right, 100 pixels tall, from x at its start."""
    return start, end, x, speed, video


def _movements(*walks):
    ends = np.zeros((2, len(walks)), ENDPOINT)
    for row, (start, end, x, speed, _) in enumerate(walks):
        for which, moment in enumerate((start, end)):
            left = x + speed * (moment - start)
            ends[which, row]["box"] = left, 0, left + 40, 100
            ends[which, row]["velocity"] = speed, 0
    starts, stops, _, _, video = (np.array(column, float) for column in zip(*walks, strict=True))
    count = len(walks)
    return movements(
        Appearances(
            keys=np.arange(count),
            cameras=np.ones(count, np.int64),
            clocks=video.astype(np.int64),
            starts=starts,
            ends=stops,
            means=np.ones((count, 2), np.float32),
            entries=ends[0],
            exits=ends[1],
            persons=np.full(count, -1),
        )
    )


def _pairs(rows):
    return list(zip(*(side.tolist() for side in rows), strict=True))


def test_who_begins_where_another_led_has_walked_on():
    found = _movements(_walk(0, 5, 0, 60), _walk(6, 9, 360, 60), _walk(5.2, 9, 340, 60))
    assert _pairs(found.continued) == [(0, 1)]
    assert found.bonuses.tolist() == [0.6]
    nearly = _movements(_walk(0, 5, 0, 60), _walk(6, 9, 380, 60))
    assert nearly.bonuses.tolist() == [0.2]


def test_who_comes_back_or_begins_elsewhere_has_not_walked_on():
    assert not _pairs(_movements(_walk(0, 5, 0, 60), _walk(6, 9, 300, -60)).continued)
    assert not _pairs(_movements(_walk(0, 5, 0, 60), _walk(6, 9, 450, 60)).continued)
    assert not _pairs(_movements(_walk(0, 5, 0, 60), _walk(6, 9, 360, 60, video=2)).continued)


def test_nobody_crosses_the_view_in_no_time():
    assert _pairs(_movements(_walk(0, 5, 0, 0), _walk(5.5, 9, 300, 0)).too_far) == [(0, 1)]
    assert not _pairs(_movements(_walk(0, 5, 0, 0), _walk(6.5, 9, 300, 0)).too_far)
    assert not _pairs(_movements(_walk(0, 5, 0, 0), _walk(5.5, 9, 300, 0, video=2)).too_far)


def test_endpoints_are_the_first_and_last_box_and_their_velocities():
    boxes = np.zeros(21, DETECTION)
    boxes["time"] = 0.1 * np.arange(21)
    left = np.where(np.arange(21) < 10, 0, 5.0 * (np.arange(21) - 10))
    boxes["box"] = np.stack([left, 0 * left, left + 40, 0 * left + 100], axis=1)
    entry, end = endpoints(boxes)
    assert entry["box"].tolist() == [0, 0, 40, 100]
    assert end["box"].tolist() == [50, 0, 90, 100]
    np.testing.assert_allclose([entry["velocity"], end["velocity"]], [[0, 0], [50, 0]], atol=1e-3)
    assert np.isnan(endpoints(boxes[:1])[0]["velocity"]).all()
