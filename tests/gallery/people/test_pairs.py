"""Pairs that need no label: people seen at once, boxes on one body, images far apart in time."""

from pathlib import Path

import numpy as np
import pytest

from reid_dhm.benchmarks.footage.pairs import label_tracklets, read_boxes, read_people
from reid_dhm.gallery.people.pairs import encounters, images_of_pairs, long_seen
from reid_dhm.gallery.track.geometry import shared_area

SHARED = Path(__file__).parents[4] / "shared/data"
PERSON = np.array([10.0, 10, 50, 110])


def _walks(*walks):
    """Rows of tracklets, frames and boxes from (tracklet, first frame, boxes)."""
    rows = [
        (tracklet, first + number, box)
        for tracklet, first, boxes in walks
        for number, box in enumerate(boxes)
    ]
    tracklets, frames, boxes = zip(*rows, strict=True)
    return np.array(tracklets), np.array(frames), np.array(boxes)


def test_two_people_in_one_frame_are_two_people():
    beside = PERSON + np.array([100, 0, 100, 0])
    found = encounters(*_walks((7, 0, [PERSON] * 4), (3, 2, [beside] * 5)))
    assert (found.first.tolist(), found.second.tolist()) == ([3], [7])
    assert found.frames.tolist() == [2]  # frames 2 and 3
    assert found.two_people.tolist() == [True]
    assert found.same_body.tolist() == [False]


def test_a_box_of_the_upper_body_is_not_another_person():
    upper = np.array([12.0, 10, 48, 60])  # its IoU with the whole body is only 0.45
    found = encounters(*_walks((1, 0, [PERSON] * 5), (2, 0, [upper] * 5)))
    assert found.covered.tolist() == [5]
    assert found.same_body.tolist() == [True]
    assert found.two_people.tolist() == [False]


def test_people_who_pass_each_other_are_still_two():
    passing = [PERSON + (30 * step - 60) * np.array([1, 0, 1, 0]) for step in range(5)]
    found = encounters(*_walks((1, 0, [PERSON] * 5), (2, 0, passing)))
    assert (found.frames.tolist(), found.apart.tolist()) == ([5], [4])
    assert found.two_people.tolist() == [True]


def test_every_pair_of_a_crowd_is_found_once():
    random = np.random.default_rng(0)
    tracklets = np.repeat(np.arange(9), 6)
    frames = np.concatenate([random.choice(12, 6, replace=False) for _ in range(9)])
    boxes = random.uniform(0, 100, (54, 2)).repeat(2, axis=1)[:, [0, 2, 1, 3]] + [0, 0, 30, 60]
    found = encounters(tracklets, frames, boxes)
    expected = {}
    for i in range(54):
        for j in range(i + 1, 54):
            if frames[i] == frames[j] and tracklets[i] != tracklets[j]:
                share = shared_area(boxes[i : i + 1], boxes[j : j + 1])[0]
                counts = expected.setdefault((tracklets[i], tracklets[j]), np.zeros(3, int))
                counts += [1, share <= 0.3, share >= 0.6]
    assert list(zip(found.first, found.second, strict=True)) == sorted(expected)
    counts = np.stack([found.frames, found.apart, found.covered], axis=1)
    assert counts.tolist() == [expected[pair].tolist() for pair in sorted(expected)]


def test_nothing_gives_no_pairs():
    nothing = np.empty(0, np.int64)
    assert len(encounters(nothing, nothing, np.empty((0, 4))).first) == 0
    assert [len(side) for side in long_seen(nothing, np.empty(0), 1.0)] == [0, 0]
    assert [len(side) for side in images_of_pairs(nothing, nothing, nothing)] == [0, 0]


def test_images_of_one_tracklet_far_apart_in_time_show_one_person():
    tracklets = np.array([5, 9, 5, 9, 5])
    times = np.array([0.0, 0.0, 1.5, 3.0, 4.0])
    first, second = long_seen(tracklets, times, 2.0)
    assert sorted(zip(first.tolist(), second.tolist(), strict=True)) == [(0, 4), (1, 3), (2, 4)]


def test_every_image_of_one_meets_every_image_of_the_other():
    tracklets = np.array([2, 1, 2, 3, 1, 1])
    first, second = images_of_pairs(tracklets, np.array([1, 1, 4]), np.array([2, 3, 2]))
    pairs = sorted(zip(first.tolist(), second.tolist(), strict=True))
    assert pairs == sorted([(i, j) for i in (1, 4, 5) for j in (0, 2, 3)])


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared clip is not here")
def test_on_a_real_clip_two_people_are_always_two_people():
    boxes = read_boxes(SHARED / "vtest_tracklets.txt")
    people = read_people(SHARED / "vtest_people.txt")
    labels = label_tracklets(boxes, read_boxes(SHARED / "vtest_gt.txt"), people)
    found = encounters(boxes.ids, boxes.frames, boxes.corners)
    known = [
        (labels[one] == labels[other], sure)
        for one, other, sure in zip(
            found.first.tolist(), found.second.tolist(), found.two_people, strict=True
        )
        if one in labels and other in labels
    ]
    assert sum(same for same, _ in known) == 8  # tracklets on one body
    assert not any(same and sure for same, sure in known)
    assert sum(sure for _, sure in known) >= 0.95 * len(known)
