"""Tracklets that users joined, among clusters that were found without regard to that.

A tracklet that looks unlike its person's others would weaken its cluster if it were in it from the
beginning. So clusters are found first, and the groups' clusters united afterwards.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from heapq import heapify, heappop, heappush

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from reid_dhm.gallery.people.graph.agglomeration import Pairs, first_members
from reid_dhm.gallery.people.graph.motion import ragged_ranges


def joined_groups(pairs: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """(count,) groups that pairs of rows (P, 2) join, each numbered by its first row."""
    links = coo_array((np.ones(len(pairs), bool), tuple(pairs.T)), shape=(count, count))
    return first_members(connected_components(links, directed=False)[1].astype(np.int64))


def of_groups(pairs: Pairs, groups: NDArray[np.int64]) -> Pairs:
    """Pairs of rows, and the same of all rows of their groups; none within a group.

    Args:
        pairs: (P,) and (P,) rows.
        groups: (N,) as of :func:`joined_groups`.
    """
    left, right = (groups[side] for side in pairs)
    codes = np.unique(
        (np.minimum(left, right) * len(groups) + np.maximum(left, right))[left != right]
    )
    left, right = np.divmod(codes, max(len(groups), 1))
    order = np.argsort(groups, kind="stable")
    begin, end = (np.searchsorted(groups[order], left, side) for side in ("left", "right"))
    which, place = ragged_ranges(begin, end)
    first, second = order[place], right[which]
    begin, end = (np.searchsorted(groups[order], second, side) for side in ("left", "right"))
    which, place = ragged_ranges(begin, end)
    return first[which], order[place]


def unite(
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
    apart: Pairs,
    owners: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Clusters in which every group is together.

    The clusters of a group's rows become one. If they belong to two confirmed people, only the
    group's own rows move to the largest of them. Rows that cannot be in such a cluster leave it
    and are alone, those in most such pairs first; what users said comes before.

    Args:
        labels: (N,) clusters, numbered by their first rows; true to ``apart`` and ``owners``.
        groups: (N,) as of :func:`joined_groups`.
        apart: pairs of two people, as of :func:`of_groups`.
        owners: (N,) confirmed person; -1 without.

    Returns:
        (N,) clusters, numbered by their first rows.
    """
    clusters = _Clusters(labels)
    for own in _several(groups):
        clusters.unite(own, owners)
    found = clusters.labels
    first, second = apart
    inside = found[first] == found[second]
    free = np.bincount(groups, minlength=len(found))[groups] == 1
    for row in _leaving(first[inside], second[inside], free):
        found[row] = len(found) + row
    return first_members(found)


class _Clusters:
    """Clusters by label, of which only those that are asked for are looked at."""

    def __init__(self, labels: NDArray[np.int64]) -> None:
        self.labels = labels.copy()
        self._order = np.argsort(labels, kind="stable")
        self._ordered = labels[self._order]
        self._changed: dict[int, NDArray[np.int64]] = {}

    def unite(self, own: NDArray[np.int64], owners: NDArray[np.int64]) -> None:
        """Make the clusters of these rows one, or move only these rows to the largest."""
        labels = np.unique(self.labels[own]).tolist()
        best, *others = sorted(labels, key=lambda label: -len(self._rows(label)))
        for label in others:
            rows = self._rows(label)
            people = owners[np.concatenate([rows, self._rows(best)])]
            if len(np.unique(people[people >= 0])) > 1:
                rows = own[self.labels[own] == label]
            self._changed[label] = np.setdiff1d(self._rows(label), rows)
            self._changed[best] = np.concatenate([self._rows(best), rows])
            self.labels[rows] = best

    def _rows(self, label: int) -> NDArray[np.int64]:
        if label not in self._changed:
            begin, end = np.searchsorted(self._ordered, [label, label + 1])
            self._changed[label] = self._order[begin:end]
        return self._changed[label]


def _several(groups: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """The rows of every group that has more than one."""
    order = np.argsort(groups, kind="stable")
    _, begin, count = np.unique(groups[order], return_index=True, return_counts=True)
    for start, size in zip(begin[count > 1].tolist(), count[count > 1].tolist(), strict=True):
        yield order[start : start + size]


def _leaving(
    first: NDArray[np.int64], second: NDArray[np.int64], free: NDArray[np.bool_]
) -> Iterator[int]:
    """Rows to leave out until no pair is left that a free row is in: those in most pairs first."""
    partners: dict[int, set[int]] = defaultdict(set)
    for one, other in zip(first.tolist(), second.tolist(), strict=True):
        partners[one].add(other)
        partners[other].add(one)
    waiting = [(-len(others), row) for row, others in partners.items() if free[row]]
    heapify(waiting)
    while waiting:
        count, row = heappop(waiting)
        if not count or -count != len(partners[row]):
            continue  # it has fewer partners by now, and waits with their number
        yield row
        for other in partners.pop(row):
            partners[other].discard(row)
            if free[other]:
                heappush(waiting, (-len(partners[other]), other))
