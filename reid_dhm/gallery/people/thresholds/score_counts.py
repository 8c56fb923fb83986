"""How often each score occurs among a gallery's pairs of tracklets, by pair of cameras."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from reid_dhm.gallery.people.graph.agglomeration import Graph, Pairs

EDGES = np.linspace(-1.0, 1.8, 561)
"""(B + 1,) edges of bins of scores: of a cosine, with room for neighbours in common."""

CameraPair = tuple[int, int]
"""Ids of two cameras, the lower one first; of one camera twice for pairs within its view."""

_PAIRS = 20_000_000  # counted; if there are more, those of evenly spaced tracklets with all others
_BLOCK = 2**21  # scores at a time
_CAMERAS = 32  # with most tracklets that are told apart; others count as one


def count_scores(
    graph: Graph, known: Pairs, cameras: NDArray[np.int64]
) -> dict[CameraPair, NDArray[np.float64]]:
    """Counts of the scores of all pairs of which nothing is known, or of a large sample of them.

    Args:
        graph: N items.
        known: pairs that are left out.
        cameras: (N,) ids.

    Returns:
        (B,) counts over the bins of :data:`EDGES`. Of more than 32 cameras those with fewest
        tracklets are one, with id -1.
    """
    count, bins = len(cameras), len(EDGES) - 1
    ids, place, sizes = np.unique(cameras, return_inverse=True, return_counts=True)
    rare = np.argsort(-sizes, kind="stable")[_CAMERAS:]
    ids[rare] = -1
    place[np.isin(place, rare)] = rare[0] if len(rare) else 0
    step = max(1, count * count // _PAIRS)
    rows = np.arange(0, count, step)
    weights, left_out = (
        _symmetric(graph.edges, graph.weights, count),
        _symmetric(known, None, count),
    )
    total = np.zeros(len(ids) ** 2 * bins)
    for start in range(0, len(rows), block := max(1, _BLOCK // max(count, 1))):
        part = rows[start : start + block]
        scores = graph.vectors[part] @ graph.vectors.T + weights[part].toarray()
        scores -= np.float32(EDGES[0])
        scores *= np.float32(bins / (EDGES[-1] - EDGES[0]))
        bin_of = np.clip(scores, 0, bins - 1, out=scores).astype(np.int32)
        codes = (place[part, None] * len(ids) + place) * bins + bin_of
        counted = ~left_out[part].toarray()
        counted[np.arange(len(part)), part] = False
        total += np.bincount(codes[counted], minlength=len(total))
    table = total.reshape(len(ids), len(ids), bins) / (2 if step == 1 else 1)
    found: dict[CameraPair, NDArray[np.float64]] = {}
    for one, other in zip(*np.nonzero(table.sum(axis=2)), strict=True):
        low, high = sorted((int(ids[one]), int(ids[other])))
        found[low, high] = found.get((low, high), 0) + table[one, other]
    return found


def pair_scores(graph: Graph, pairs: Pairs) -> NDArray[np.float64]:
    """(P,) scores of pairs of items."""
    scores = np.empty(len(pairs[0]))
    step = max(1, _BLOCK // max(1, graph.vectors.shape[1]))
    for start in range(0, len(scores), step):
        first, second = (side[start : start + step] for side in pairs)
        scores[start : start + step] = np.einsum(
            "nd,nd->n", graph.vectors[first], graph.vectors[second]
        )
    weights = _symmetric(graph.edges, graph.weights, len(graph.vectors))
    return scores + np.asarray(weights[pairs[0], pairs[1]]).ravel()


def _symmetric(pairs: Pairs, values: NDArray[np.float64] | None, count: int) -> csr_array:
    """(count, count) values at both places of every pair; True by default."""
    rows, columns = np.concatenate(pairs), np.concatenate(pairs[::-1])
    data = np.ones(len(rows), bool) if values is None else np.tile(values, 2).astype(np.float32)
    return csr_array((data, (rows, columns)), shape=(count, count))
