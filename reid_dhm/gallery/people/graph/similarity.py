"""How alike two tracklets are: cosine without the camera's share, and neighbours in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import faiss as _faiss
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, triu

from reid_dhm.gallery.people.graph.agglomeration import Graph, Pairs
from reid_dhm.gallery.people.graph.motion import Movements

faiss: Any = _faiss  # the types that it ships leave out half of what it has

_EXACT = 20_000**2  # products up to which neighbours are found by exact search
_LISTS = 4  # lists of the inverted file, times the root of the number of tracklets
_PROBED = 0.04  # share of the lists that is searched
_TRAINING = 64  # vectors per list
_MUTUAL = 10  # neighbours that may be mutual
_TRACKLETS_PER_NEIGHBOUR = 8
_AVERAGED = 3  # nearest, the tracklet itself included, over which neighbours are averaged
_FEWEST = 10  # tracklets of which a new camera's mean is taken
_NEIGHBOURS = 20  # that a tracklet may be merged with first
_WEIGHT = 0.6  # of neighbours in common, beside a cosine


def camera_means(
    means: NDArray[np.float32],
    cameras: NDArray[np.int64],
    known: Mapping[int, NDArray[np.float32]] | None = None,
) -> dict[int, NDArray[np.float32]]:
    """(D,) mean embedding of each camera: its background, light and viewpoint.

    Args:
        means: (N, D) float32 unit rows.
        cameras: (N,) camera ids.
        known: of cameras whose means were taken before; they stay. A new camera has the mean of
            these as long as it has fewer than ten tracklets, whose own mean would say more about
            who they are.
    """
    found = dict(known or {})
    ids, counts = np.unique(cameras, return_counts=True)
    for camera, count in zip(ids.tolist(), counts.tolist(), strict=True):
        few = known is not None and count < _FEWEST
        some = np.array(list((known or {}).values())) if few else means[cameras == camera]
        if camera not in found and len(some):
            found[camera] = some.mean(axis=0)
    return found


def without_camera(
    means: NDArray[np.float32],
    cameras: NDArray[np.int64],
    centres: dict[int, NDArray[np.float32]],
) -> NDArray[np.float32]:
    """(N, D) float32 unit rows: each embedding less the mean of its camera.

    What all people in front of a camera have in common says nothing about who they are, and makes
    strangers in one camera more alike than one person in two.
    """
    rows = means.copy()
    for camera, centre in centres.items():
        rows[cameras == camera] -= centre
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def nearest(vectors: NDArray[np.float32], rows: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """(R, k) the nearest vectors of these rows, each itself first; -1 where fewer were found.

    Exact for few vectors or few rows; otherwise from an inverted file, so that time grows far
    slower than the square of their number.

    Args:
        vectors: (N, D) float32 unit rows.
        rows: (R,) whose neighbours are wanted.
        k: reduced to N.
    """
    count, dim = vectors.shape
    k = min(k, count)
    if not len(rows):
        return np.empty((0, k), np.int64)
    if len(rows) * count <= _EXACT:
        index = faiss.IndexFlatIP(dim)
    else:
        lists = int(_LISTS * count**0.5)
        index = faiss.index_factory(dim, f"IVF{lists},SQfp16", faiss.METRIC_INNER_PRODUCT)
        index.nprobe = max(1, round(_PROBED * lists))
        index.train(vectors[:: max(1, count // (_TRAINING * lists))])
    index.add(vectors)
    _, found = index.search(vectors[rows], k)
    own = rows[:, None]
    order = np.argsort(found != own, axis=1, kind="stable")
    found = np.take_along_axis(found, order, axis=1)
    found[:, :1] = own  # a tracklet may be missing from its own list, among equals
    return np.asarray(found, np.int64)


def neighbour_graph(vectors: NDArray[np.float32], moved: Movements | None = None) -> Graph:
    """Pairs that may be one person, with a weight for the neighbours they have in common.

    k-reciprocal neighbours as of Zhong et al. (CVPR 2017): tracklets that are in each other's
    lists, averaged over the nearest ones. The weight is the cosine of two tracklets' neighbours,
    times 0.6.

    Args:
        vectors: (N, D) float32 unit rows.
        moved: pairs that walk on, and their bonuses.
    """
    lists = nearest(vectors, np.arange(len(vectors)), _NEIGHBOURS + 1)
    # In a small gallery strangers are among the nearest, too.
    k = min(_MUTUAL, len(vectors) // _TRACKLETS_PER_NEIGHBOUR)
    relation = _relation(lists[:, : k + 1])
    mutual = relation.multiply(relation.T).tocsr()
    members = (_relation(lists[:, : min(k + 1, _AVERAGED)]) @ mutual).tocsr()
    norms = np.sqrt(members.multiply(members).sum(axis=1))
    members.data /= np.repeat(norms, np.diff(members.indptr))
    common = triu(members @ members.T, k=1).tocoo()
    near = triu(_relation(lists) + _relation(lists).T, k=1).tocoo()
    pairs = [(common.row, common.col), (near.row, near.col)]
    weights = np.concatenate([_WEIGHT * common.data, np.zeros(len(near.data))])
    return _graph(vectors, pairs, weights, moved)


def join_graph(vectors: NDArray[np.float32], rows: NDArray[np.int64], moved: Movements) -> Graph:
    """Pairs of each of these rows with its neighbours, without weights.

    Args:
        vectors: (N, D) float32 unit rows.
        rows: (R,) of tracklets that may join others.
        moved: as for :func:`neighbour_graph`.
    """
    lists = nearest(vectors, rows, _NEIGHBOURS + 1)
    own = np.repeat(rows, lists.shape[1] - 1)
    other = lists[:, 1:].ravel()
    found = other >= 0
    return _graph(vectors, [(own[found], other[found])], np.zeros(int(found.sum())), moved)


def _graph(
    vectors: NDArray[np.float32],
    pairs: list[Pairs],
    weights: NDArray[np.float64],
    moved: Movements | None,
) -> Graph:
    """A graph from pairs that may coincide; their weights are added."""
    count = max(len(vectors), 1)
    bonuses = np.zeros(len(weights))
    if moved is not None:
        pairs = [*pairs, moved.continued]
        bonuses = np.concatenate([bonuses, moved.bonuses])
        weights = np.concatenate([weights, np.zeros(len(moved.bonuses))])
    first, second = (np.concatenate(side).astype(np.int64) for side in zip(*pairs, strict=True))
    codes = np.minimum(first, second) * count + np.maximum(first, second)
    unique, place = np.unique(codes, return_inverse=True)
    summed = [
        np.bincount(place, values, len(unique)).astype(np.float64) for values in (weights, bonuses)
    ]
    return Graph(vectors, np.divmod(unique, count), summed[0], summed[1])


def _relation(lists: NDArray[np.int64]) -> csr_array:
    """(N, N) float64, 1 from each row to those of its list (N, k)."""
    count, k = lists.shape
    row, column = np.repeat(np.arange(count), k), lists.ravel()
    found = column >= 0
    ones = np.ones(int(found.sum()))
    return csr_array((ones, (row[found], column[found])), shape=(count, count))
