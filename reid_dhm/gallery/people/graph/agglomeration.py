"""Constrained average-linkage clustering over a sparse graph, many merges at a time.

Two clusters merge when each is the other's closest. Under average linkage that leads to the same
clusters as merging the closest two first (Bruynooghe 1977), in few rounds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

_PAIRS = 2**14  # whose inner products are computed at a time

Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]
"""(P,) and (P,) row numbers, the first and the second of every pair."""


@dataclass(frozen=True, eq=False)
class Graph:
    """N items; the score of two is the inner product of their vectors plus their edge's weight.

    The score of two clusters is the mean over their pairs of items, plus the highest bonus of
    their edges: what one pair tells of both clusters is not diluted by the others.

    Attributes:
        vectors: (N, D) float32.
        edges: pairs of items, each once; clusters merge only if an edge connects them.
        weights: (E,) float64, added to the scores of these pairs.
        bonuses: (E,) float64, 0 or more.
    """

    vectors: NDArray[np.float32]
    edges: Pairs
    weights: NDArray[np.float64]
    bonuses: NDArray[np.float64]


def agglomerate(
    graph: Graph,
    apart: Pairs,
    threshold: float,
    start: NDArray[np.int64],
    owners: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Merge clusters as long as their score reaches a threshold.

    Deterministic: of equal scores that of the cluster with the lowest item wins. Clusters that no
    sequence of merges can reach are set aside, so that time grows with the number of edges and of
    pairs ``apart`` within groups of similar items.

    Args:
        graph: N items.
        apart: pairs of items that never come into one cluster, unless ``start`` has them there.
        threshold: lowest score.
        start: (N,) clusters to begin with, by any number.
        owners: (N,) -1 without an owner; clusters of two owners never merge.

    Returns:
        (N,) int64 clusters, each numbered by its first item.
    """
    labels = first_members(start)
    clusters = _Clusters.of(graph, apart, labels, owners)
    while (merges := clusters.merges(threshold)) is not None:
        clusters.merge(*merges)
        target = np.arange(len(labels))
        target[merges[1]] = merges[0]
        labels = target[labels]
    return labels


def first_members(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """(N,) clusters of any number, each numbered by its first item instead."""
    _, first, place = np.unique(labels, return_index=True, return_inverse=True)
    return first[place]


@dataclass(eq=False)
class _Clusters:
    """Clusters under their first item's number; arrays over items hold values there."""

    sums: NDArray[np.float32]
    sizes: NDArray[np.int64]
    owners: NDArray[np.int64]
    codes: NDArray[np.int64]  # of the edges: first * N + second, ascending
    weights: NDArray[np.float64]  # summed over pairs of items
    bonuses: NDArray[np.float64]
    products: NDArray[np.float64]  # of the sums at the edges' ends
    apart: NDArray[np.int64]  # codes, ascending

    @classmethod
    def of(
        cls, graph: Graph, apart: Pairs, labels: NDArray[np.int64], owners: NDArray[np.int64]
    ) -> _Clusters:
        count = len(labels)
        sums = graph.vectors.copy()
        inner = np.flatnonzero(labels != np.arange(count))
        np.add.at(sums, labels[inner], graph.vectors[inner])
        owner = np.full(count, -1, np.int64)
        np.maximum.at(owner, labels, owners)
        codes, place, kept = _joined(labels, *graph.edges)
        made = cls(
            sums=sums,
            sizes=np.bincount(labels, minlength=count),
            owners=owner,
            codes=codes,
            weights=np.bincount(place, graph.weights[kept], len(codes)).astype(np.float64),
            bonuses=_highest(place, graph.bonuses[kept], len(codes)),
            products=np.zeros(len(codes)),
            apart=_joined(labels, *apart)[0],
        )
        made._multiply(np.ones(len(codes), bool))
        return made

    def merges(self, threshold: float) -> Pairs | None:
        """Clusters that are each other's closest; None if no two can merge any more."""
        first, second = np.divmod(self.codes, len(self.sizes))
        scores = (self.products + self.weights) / (self.sizes[first] * self.sizes[second])
        scores += self.bonuses
        free = scores >= threshold
        free &= ~np.isin(self.codes, self.apart, assume_unique=True)
        left, right = self.owners[first], self.owners[second]
        free &= (left == right) | (left < 0) | (right < 0)
        if not free.any():
            return None
        self._set_aside(first[free], second[free])
        ends = np.concatenate([first[free], second[free]])
        others = np.concatenate([second[free], first[free]])
        order = np.lexsort((others, -np.tile(scores[free], 2), ends))
        own, place = np.unique(ends[order], return_index=True)
        closest = np.full(len(self.sizes), -1, np.int64)
        closest[own] = others[order][place]
        mutual = own[(closest[closest[own]] == own) & (own < closest[own])]
        return mutual, closest[mutual]

    def merge(self, first: NDArray[np.int64], second: NDArray[np.int64]) -> None:
        """Merge each ``second`` into its ``first``."""
        self.sums[first] += self.sums[second]
        self.sizes[first] += self.sizes[second]
        self.owners[first] = np.maximum(self.owners[first], self.owners[second])
        target = np.arange(len(self.sizes))
        target[second] = first
        changed = np.zeros(len(target), bool)
        changed[first] = True
        self.codes, place, kept = _joined(target, *np.divmod(self.codes, len(target)))
        self.weights, self.products = (
            np.bincount(place, values[kept], len(self.codes)).astype(np.float64)
            for values in (self.weights, self.products)
        )
        self.bonuses = _highest(place, self.bonuses[kept], len(self.codes))
        self.apart = _joined(target, *np.divmod(self.apart, len(target)))[0]
        ends = np.divmod(self.codes, len(target))
        self._multiply(changed[ends[0]] | changed[ends[1]])

    def _set_aside(self, first: NDArray[np.int64], second: NDArray[np.int64]) -> None:
        """Drop what lies between clusters that these edges, which may merge, do not connect.

        A merged cluster's mean score with another is at most the higher of its parts' scores, so
        edges that may not merge now never will, except along edges that may.
        """
        count = len(self.sizes)
        links = coo_array((np.ones(len(first), bool), (first, second)), shape=(count, count))
        _, group = connected_components(links, directed=False)
        for name in ("codes", "apart"):
            left, right = np.divmod(getattr(self, name), count)
            kept = group[left] == group[right]
            setattr(self, name, getattr(self, name)[kept])
            if name == "codes":
                for values in ("weights", "bonuses", "products"):
                    setattr(self, values, getattr(self, values)[kept])

    def _multiply(self, which: NDArray[np.bool_]) -> None:
        """Compute the products of these edges."""
        rows = np.flatnonzero(which)
        for start in range(0, len(rows), _PAIRS):
            part = rows[start : start + _PAIRS]
            first, second = np.divmod(self.codes[part], len(self.sizes))
            self.products[part] = np.einsum("nd,nd->n", self.sums[first], self.sums[second])


def _joined(
    target: NDArray[np.int64], first: NDArray[np.int64], second: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Pairs of clusters from pairs of items (P,) and (P,); pairs within one cluster are left out.

    Args:
        target: (N,) the cluster of every item.
        first, second: the pairs.

    Returns:
        codes: (C,) of the pairs of clusters, ascending.
        place: (K,) in them, of every pair that is kept.
        kept: (P,) whether it is.
    """
    left, right = target[first], target[second]
    kept = left != right
    codes = np.minimum(left, right) * len(target) + np.maximum(left, right)
    codes, place = np.unique(codes[kept], return_inverse=True)
    return codes, place, kept


def _highest(
    place: NDArray[np.int64], values: NDArray[np.float64], count: int
) -> NDArray[np.float64]:
    """(count,) the highest value at every place; 0 without any."""
    found = np.zeros(count)
    np.maximum.at(found, place, values)
    return found
