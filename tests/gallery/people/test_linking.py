"""People from tracklets: who looks alike is joined, within what is possible and what users said."""

import dataclasses

import numpy as np
import pytest

from reid_dhm.gallery.people.evidence import ENDPOINT, WALL_CLOCK, Appearances
from reid_dhm.gallery.people.linking.link import Constraints, assign, link
from reid_dhm.gallery.people.pairs import Encounters
from reid_dhm.gallery.people.thresholds.calibration import PeopleThresholds

DIM = 16


def appearances(people, cameras=None, starts=None, together=(), noise=0.1, persons=None):
    """Tracklets of these people: each a direction with a little noise, ten seconds long."""
    rng = np.random.default_rng(0)
    directions = np.linalg.qr(rng.standard_normal((DIM, DIM)))[0]
    count = len(people)
    means = directions[np.array(people, int)] + noise * rng.standard_normal((count, DIM))
    means = (means / np.linalg.norm(means, axis=1, keepdims=True)).astype(np.float32)
    starts = 100.0 * np.arange(count) if starts is None else np.array(starts, float)
    first, second = np.array(together, np.int64).reshape(-1, 2).T
    frames = np.full(len(first), 10)
    ends = np.zeros(count, ENDPOINT)
    return Appearances(
        keys=10 * np.arange(count) + 5,
        cameras=np.ones(count, np.int64) if cameras is None else np.array(cameras),
        clocks=np.full(count, WALL_CLOCK),
        starts=starts,
        ends=starts + 10,
        means=means,
        entries=ends,
        exits=ends,
        persons=np.full(count, -1) if persons is None else np.array(persons),
        together=Encounters(first, second, frames, frames, 0 * frames),
    )


THRESHOLDS = PeopleThresholds({}, link=0.6, join=0.5)


def keys(*pairs):
    return 10 * np.array(pairs, np.int64) + 5


def people_of(found):
    """Clusters as sets of rows."""
    return {frozenset(np.flatnonzero(found == person).tolist()) for person in found.tolist()}


def test_tracklets_that_look_alike_are_one_person():
    found = link(appearances([0, 1, 0, 2, 1, 0]), thresholds=THRESHOLDS)
    assert people_of(found.persons) == {frozenset({0, 2, 5}), frozenset({1, 4}), frozenset({3})}
    assert np.isnan(found.scores[3])
    assert (found.scores[[0, 1, 2, 4, 5]] > 0.6).all()


def test_two_that_were_seen_at_once_are_never_one_person_even_through_others():
    found = link(appearances([0, 0, 0, 0], together=[(0, 1)]), thresholds=THRESHOLDS)
    assert found.persons[0] != found.persons[1]
    assert len(set(found.persons.tolist())) == 2


def test_two_boxes_on_one_body_may_be_one_person():
    given = appearances([0, 0], together=[(0, 1)])
    covered = dataclasses.replace(
        given, together=given.together._replace(apart=np.array([0]), covered=np.array([10]))
    )
    assert len(set(link(given, thresholds=THRESHOLDS).persons.tolist())) == 2
    assert len(set(link(covered, thresholds=THRESHOLDS).persons.tolist())) == 1


def test_nobody_is_in_two_cameras_faster_than_the_travel_time():
    given = appearances([0, 0], cameras=[1, 2], starts=[0, 35])
    for seconds, expected in ((20, 1), (30, 2)):
        law = Constraints(travel_times={(2, 1): seconds})
        assert len(set(link(given, law, THRESHOLDS).persons.tolist())) == expected
    unknown = dataclasses.replace(given, clocks=np.array([3, 4]))
    law = Constraints(travel_times={(1, 2): 30})
    assert len(set(link(unknown, law, THRESHOLDS).persons.tolist())) == 1


def test_what_users_said_is_law():
    given = appearances([0, 0, 0, 1, 2])
    law = Constraints(must=keys((0, 3)), cannot=keys((1, 2), (3, 4)))
    found = link(given, law, THRESHOLDS).persons
    assert found[0] == found[3]
    assert found[1] != found[2]
    assert found[3] != found[4]


def test_a_split_takes_others_along():
    """Whoever looks more like one side of a split goes with it: more than the pair is mended."""
    given = appearances([0, 0, 0, 0, 1, 1, 1, 1], noise=0.0)
    alike = given.means.copy()
    alike[4:] = 0.8 * given.means[0] + 0.6 * given.means[4:]
    given = dataclasses.replace(given, means=alike)
    assert len(set(link(given, None, THRESHOLDS).persons.tolist())) == 1
    found = link(given, Constraints(cannot=keys((0, 4))), THRESHOLDS).persons
    assert people_of(found) == {frozenset(range(4)), frozenset(range(4, 8))}


def test_confirmed_people_keep_their_numbers_and_never_merge():
    given = appearances([0, 0, 0, 0], persons=[7, 7, 7, 7])
    law = Constraints(confirmed=np.array([[5, 9], [15, 4], [35, 4]]))
    found = link(given, law, THRESHOLDS).persons
    assert found[0] == 9
    assert found[1] == found[3] == 4
    assert found[2] in (4, 9)


def test_a_full_pass_keeps_numbers_by_overlap():
    given = appearances([0, 0, 0, 1, 1, 2], persons=[8, 8, 3, 3, -1, 6])
    found = link(given, None, THRESHOLDS, next_person=20).persons
    assert found.tolist() == [8, 8, 8, 3, 3, 6]
    fresh = appearances([0, 1, 0], persons=[8, 8, 8])
    assert link(fresh, None, THRESHOLDS, next_person=20).persons.tolist() == [8, 20, 8]


def test_new_tracklets_join_known_people_or_make_new_ones():
    given = appearances([0, 0, 1, 2, 0, 3, 3], persons=[5, 6, 2, 2, -1, -1, -1])
    found = assign(given, None, THRESHOLDS).persons
    assert found[:4].tolist() == [5, 6, 2, 2]  # right or wrong, known people stay
    assert found[4] in (5, 6)
    assert found[5] == found[6] == 7


def test_a_split_since_is_obeyed_when_new_tracklets_are_assigned():
    given = appearances([0, 1, 0], persons=[5, 5, -1])
    found = assign(given, Constraints(cannot=keys((0, 1))), THRESHOLDS).persons
    assert found.tolist() == [5, 6, 5]


def test_the_order_of_tracklets_decides_nothing():
    people = np.arange(60) % 12
    given = appearances(people.tolist(), noise=0.2)
    again = np.random.default_rng(1).permutation(60)
    other = dataclasses.replace(given, means=given.means[again])
    first, second = (people_of(link(a, thresholds=THRESHOLDS).persons) for a in (given, other))
    assert first == {frozenset(again[sorted(rows)].tolist()) for rows in second}


@pytest.mark.parametrize("function", [link, assign])
def test_no_tracklets_and_one_tracklet(function):
    assert len(function(appearances([])).persons) == 0
    assert function(appearances([0])).persons.tolist() == [0]


def test_what_users_join_brings_along_what_was_found_with_either_part():
    two_looks = [0, 0, 0, 1, 1, 1]
    law = Constraints(must=keys((0, 3)))
    found = link(appearances(two_looks), law, THRESHOLDS)
    assert people_of(found.persons) == {frozenset(range(6))}
    seen_at_once = link(appearances(two_looks, together=[(1, 4), (1, 5)]), law, THRESHOLDS)
    assert people_of(seen_at_once.persons) == {frozenset({0, 2, 3, 4, 5}), frozenset({1})}
    split = Constraints(must=keys((0, 3)), cannot=keys((0, 5)))
    found = link(appearances(two_looks), split, THRESHOLDS)
    assert people_of(found.persons) == {frozenset({0, 1, 2, 3, 4}), frozenset({5})}


def test_joining_does_not_make_one_of_two_confirmed_people():
    given = appearances([0, 0, 0, 1, 1])
    law = Constraints(must=keys((2, 3)), confirmed=np.array([[5, 7], [45, 8]]))
    found = link(given, law, THRESHOLDS).persons
    assert found.tolist() == [7, 7, 7, 7, 8]


def test_what_is_said_of_one_tracklet_holds_for_those_joined_with_it():
    given = appearances([0, 1, 1], together=[(0, 1)])
    found = link(given, Constraints(must=keys((0, 2))), THRESHOLDS).persons
    assert people_of(found) == {frozenset({0, 2}), frozenset({1})}
