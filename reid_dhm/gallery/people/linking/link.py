"""Who is who: tracklets of all cameras to people, true to what users said and what is possible.

:func:`link` decides about everybody anew; :func:`assign` adds new tracklets to people that stay as
they are. Reading and storing is left to others.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from reid_dhm.gallery.people.evidence import Appearances
from reid_dhm.gallery.people.graph.agglomeration import Graph, Pairs, agglomerate, first_members
from reid_dhm.gallery.people.graph.motion import Movements, movements
from reid_dhm.gallery.people.graph.similarity import (
    camera_means,
    join_graph,
    neighbour_graph,
    without_camera,
)
from reid_dhm.gallery.people.linking.groups import joined_groups, of_groups, unite
from reid_dhm.gallery.people.linking.impossible import impossible_pairs
from reid_dhm.gallery.people.thresholds.calibration import PeopleThresholds, calibrate
from reid_dhm.gallery.store.travel import TravelTimes


def _no_pairs() -> NDArray[np.int64]:
    return np.empty((0, 2), np.int64)


@dataclass(frozen=True, eq=False)
class Constraints:
    """What is known for certain. Keys that are not among the tracklets are ignored.

    Attributes:
        must: (M, 2) int64 keys of tracklets that show one person.
        cannot: (K, 2) int64 keys of tracklets that show two people.
        confirmed: (C, 2) int64, key of a tracklet and number of the person that a user confirmed.
            Tracklets of one number are one person, of two numbers two people.
        travel_times: least seconds between two cameras.
    """

    must: NDArray[np.int64] = field(default_factory=_no_pairs)
    cannot: NDArray[np.int64] = field(default_factory=_no_pairs)
    confirmed: NDArray[np.int64] = field(default_factory=_no_pairs)
    travel_times: TravelTimes = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Linking:
    """The people of N tracklets.

    Attributes:
        persons: (N,) int64, number of the person of each tracklet, 0 or more.
        scores: (N,) float64, mean similarity of each tracklet to the person's other tracklets, in
            the terms of its thresholds; NaN for a person's only tracklet.
        thresholds: that it was found with.
    """

    persons: NDArray[np.int64]
    scores: NDArray[np.float64]
    thresholds: PeopleThresholds


def link(
    appearances: Appearances,
    constraints: Constraints | None = None,
    thresholds: PeopleThresholds | None = None,
    next_person: int | None = None,
) -> Linking:
    """Find the people of all tracklets anew.

    What users joined brings along what was found with either part, so that two unlike groups of one
    person's tracklets stay together once two of them were linked. Where people were known, their
    numbers are kept by overlap: a confirmed number stays with its confirmed tracklets; others go to
    the group that holds most of the person's tracklets.

    Args:
        appearances: N tracklets.
        constraints: law; none by default.
        thresholds: of this gallery; by default they are found from these tracklets.
        next_person: lowest number of a new person; by default above all known ones.
    """
    law = _Law.of(appearances, constraints or Constraints())
    known = thresholds.centres if thresholds else None
    centres = camera_means(appearances.means, appearances.cameras, known)
    vectors = without_camera(appearances.means, appearances.cameras, centres)
    graph = neighbour_graph(vectors, law.moved)
    thresholds = thresholds or calibrate(appearances, graph)
    alone = np.arange(len(appearances))
    labels = agglomerate(graph, law.apart, thresholds.link, alone, law.owners)
    if (law.groups != alone).any():
        start = unite(labels, law.groups, law.apart, law.owners)
        labels = agglomerate(graph, law.apart, thresholds.link, start, law.owners)
    persons = _keep_numbers(labels, appearances.persons, law, next_person)
    return Linking(persons, _scores(graph, labels), thresholds)


def assign(
    appearances: Appearances,
    constraints: Constraints | None = None,
    thresholds: PeopleThresholds | None = None,
    next_person: int | None = None,
) -> Linking:
    """Give tracklets without a person to known people or to new ones.

    Known people stay as they are, unless users' links and splits say otherwise since. Neighbours
    in common are not counted, as they need all tracklets: few tracklets are enough, if all of the
    people are among them who could be meant.

    Args:
        appearances: N tracklets; those without a person are assigned.
        constraints: as for :func:`link`.
        thresholds: as for :func:`link`.
        next_person: as for :func:`link`.
    """
    law = _Law.of(appearances, constraints or Constraints())
    thresholds = thresholds or calibrate(appearances)
    known = _undisputed(appearances.persons, law)
    centres = camera_means(appearances.means, appearances.cameras, thresholds.centres)
    vectors = without_camera(appearances.means, appearances.cameras, centres)
    graph = join_graph(vectors, np.flatnonzero(known < 0), law.moved)
    members = np.flatnonzero(known >= 0)
    pairs = np.stack([first_members(known)[members], members], axis=1)
    pairs = np.concatenate([pairs, np.stack([law.groups, np.arange(len(known))], axis=1)])
    groups = joined_groups(pairs, len(known))
    owners = np.where(law.owners >= 0, law.owners, known)
    labels = agglomerate(graph, law.apart, thresholds.join, groups, owners)
    persons = _keep_numbers(labels, appearances.persons, law, next_person)
    return Linking(persons, _scores(graph, labels), thresholds)


def _undisputed(persons: NDArray[np.int64], law: _Law) -> NDArray[np.int64]:
    """Known people, without those of whom a user split two tracklets since."""
    first, second = law.cannot
    torn = (persons[first] == persons[second]) & (persons[first] >= 0)
    return np.where(np.isin(persons, persons[first[torn]]), -1, persons)


@dataclass(frozen=True, eq=False)
class _Law:
    """Constraints as rows.

    Attributes:
        groups: (N,) groups that users joined, each numbered by its first row.
        apart: pairs that are two people; what is said of one row of a group holds for all.
        cannot: those of them that users said.
        owners: (N,) confirmed person of the row's group; -1 without.
        moved: pairs that walk on.
    """

    groups: NDArray[np.int64]
    apart: Pairs
    cannot: Pairs
    owners: NDArray[np.int64]
    moved: Movements

    @classmethod
    def of(cls, appearances: Appearances, constraints: Constraints) -> _Law:
        rows = appearances.rows
        keys, named = constraints.confirmed.T
        own = rows(keys)
        own, named = own[own >= 0], named[own >= 0]
        _, first, place = np.unique(named, return_index=True, return_inverse=True)
        must = rows(constraints.must)
        must = np.concatenate(
            [must[(must >= 0).all(axis=1)], np.stack([own[first][place], own], 1)]
        )
        groups = joined_groups(must, len(appearances))
        owners = np.full(len(appearances), -1, np.int64)
        np.maximum.at(owners, groups[own], named)
        cannot = np.sort(rows(constraints.cannot), axis=1)
        cannot = cannot[cannot[:, 0] >= 0]
        split = cannot[:, 0], cannot[:, 1]
        moved = movements(appearances)
        apart = impossible_pairs(appearances, constraints.travel_times), moved.too_far, split
        first, second = (np.concatenate(side) for side in zip(*apart, strict=True))
        every = of_groups((first, second), groups)
        return cls(groups, every, split, owners[groups], moved)


def _keep_numbers(
    labels: NDArray[np.int64], persons: NDArray[np.int64], law: _Law, next_person: int | None
) -> NDArray[np.int64]:
    """(N,) numbers of people for clusters, those of known people where they overlap."""
    free = max(persons.max(initial=-1), law.owners.max(initial=-1)) + 1
    free = free if next_person is None else max(free, next_person)
    number = np.full(len(labels), -1, np.int64)  # by cluster
    confirmed = law.owners >= 0
    number[labels[confirmed]] = law.owners[confirmed]
    known = np.flatnonzero(persons >= 0)
    pairs, size = np.unique(np.stack([persons[known], labels[known]]), axis=1, return_counts=True)
    taken = set(law.owners[confirmed].tolist())
    for place in np.lexsort((pairs[1], pairs[0], -size)):
        person, cluster = pairs[:, place].tolist()
        if number[cluster] < 0 and person not in taken:
            number[cluster] = person
            taken.add(person)
    new = np.unique(labels[number[labels] < 0])
    number[new] = free + np.arange(len(new))
    return number[labels]


def _scores(graph: Graph, labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """(N,) mean score of each item with the others of its cluster, NaN where it is alone."""
    count = len(labels)
    sums = np.zeros(graph.vectors.shape, np.float32)
    np.add.at(sums, labels, graph.vectors)
    total = np.einsum("nd,nd->n", graph.vectors, sums[labels] - graph.vectors).astype(np.float64)
    first, second = graph.edges
    inner = labels[first] == labels[second]
    for side in (first, second):
        total += np.bincount(side[inner], graph.weights[inner], count)
    others = np.bincount(labels, minlength=count)[labels] - 1
    return np.divide(total, others, out=np.full(count, np.nan), where=others > 0)
