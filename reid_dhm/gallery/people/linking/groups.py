"""Tracklets that users joined, among clusters that were found without regard to that.

A tracklet that looks unlike its person's others would weaken its cluster if it were in it from the
beginning. So clusters are found first, and the groups' clusters united afterwards.
"""

from __future__ import annotations

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
    found = labels.copy()
    names, sizes = np.unique(groups, return_counts=True)
    for group in names[sizes > 1].tolist():
        own = np.flatnonzero(groups == group)
        clusters, numbers = np.unique(found[np.isin(found, found[own])], return_counts=True)
        order = np.argsort(-numbers, kind="stable")
        best = clusters[order[0]]
        for cluster in clusters[order[1:]].tolist():
            rows = np.flatnonzero((found == cluster) | (found == best))
            if len(np.unique(owners[rows][owners[rows] >= 0])) > 1:
                rows = own[found[own] == cluster]
            found[rows] = best
    first, second = apart
    free = np.bincount(groups, minlength=len(found))[groups] == 1
    inside = found[first] == found[second]
    first, second = first[inside], second[inside]
    while len(first):
        counts = np.bincount(np.concatenate([first, second]), minlength=len(found)) * free
        leaves = int(np.argmax(counts))
        if counts[leaves] == 0:
            break
        found[leaves] = len(found) + leaves
        kept = (first != leaves) & (second != leaves)
        first, second = first[kept], second[kept]
    return first_members(found)
