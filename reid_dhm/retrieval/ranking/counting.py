"""Exact ranks of the correct gallery images by counting, without sorting the gallery.

The rank of a correct image is its position among the correct ones plus the number of wrong images
that are closer. Scores are computed in tiles of (queries x gallery rows), so memory is bounded by a
tile. :mod:`reid_dhm.retrieval.metrics` turns ranks into figures.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from threading import Lock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from reid_dhm.devices import full_float32
from reid_dhm.retrieval.distances import Space
from reid_dhm.retrieval.parallel import parallel_map

# Consecutive gallery rows among which almost-equal scores are searched.
SEGMENT = 128
# (queries, gallery rows) of a tile: two in float32 fit in the cache of a core; a GPU needs more.
_TILE = {"cpu": (512, 1024), "cuda": (4096, 8192)}
# Correct images of a block of queries, and pairs listed at a time.
_BLOCK_POSITIVES = 2**15
_BATCH_PAIRS = 2**22


@dataclass(frozen=True, eq=False)
class Pairs:
    """All (query, gallery) pairs of the same person, ordered by query, then by gallery row.

    Attributes:
        query, gallery: (n,) int64 row numbers.
        ignored: (n,) bool, left out of the ranking (same camera under the camera rule).
    """

    query: NDArray[np.int64]
    gallery: NDArray[np.int64]
    ignored: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class PositiveRanks:
    """Ranks of the correct images, ascending within each query, queries in order.

    Attributes:
        query: (n,) int64 query row of each correct image.
        rank: (n,) int64, 1-based; ignored images do not count.
    """

    query: NDArray[np.int64]
    rank: NDArray[np.int64]


@dataclass(eq=False)
class _Block:
    """Queries with about equally many correct images, and the counts of closer images.

    ``score``, ``gallery`` and ``closer`` are (P, B), best correct image first; queries with
    fewer than P are padded with an infinite score. ``same_query`` (row of the block) and
    ``same_gallery`` list the pairs of the same person, ordered by gallery row; they do not count.
    """

    query: Tensor
    coarse: Tensor
    square: Tensor
    score: Tensor
    gallery: Tensor
    closer: Tensor
    same_query: Tensor
    same_gallery: Tensor


def same_person_pairs(
    query_pids: NDArray[np.int64],
    query_camids: NDArray[np.int64],
    gallery_pids: NDArray[np.int64],
    gallery_camids: NDArray[np.int64],
    camera_rule: bool,
) -> Iterator[Pairs]:
    """List the pairs of the same person in batches of some millions; no query is split."""
    by_pid = np.argsort(gallery_pids, kind="stable")
    sorted_pids = gallery_pids[by_pid]
    first = np.searchsorted(sorted_pids, query_pids, side="left")
    count = np.searchsorted(sorted_pids, query_pids, side="right") - first
    total = np.cumsum(count)
    start = 0
    while start < len(query_pids):
        before = total[start] - count[start]
        stop = max(start + 1, int(np.searchsorted(total, before + _BATCH_PAIRS, side="right")))
        rows = np.arange(start, stop)
        query = np.repeat(rows, count[rows])
        place = np.arange(len(query)) - np.repeat(total[rows] - count[rows] - before, count[rows])
        gallery = by_pid[first[query] + place]
        ignored = (query_camids[query] == gallery_camids[gallery]) & camera_rule
        yield Pairs(query, gallery, ignored)
        start = stop


def rank_positives(space: Space, queries: Tensor, pairs: Pairs) -> PositiveRanks:
    """Exact rank of every correct gallery image.

    Images are ranked by :meth:`Space.exact`, equal ones by gallery row. The result does not
    depend on block size, threads or device.

    Args:
        space: the gallery, (G, D) float32.
        queries: (Q, D) float32 on the device of the gallery, where the computation runs.
        pairs: one batch of :func:`same_person_pairs`.

    Raises:
        InputError: a zero query under ``cosine``.
    """
    norms = space.query_norms(queries)
    query, gallery = pairs.query[~pairs.ignored], pairs.gallery[~pairs.ignored]
    score = space.exact_many(queries, norms, *_to(queries.device, query, gallery))
    order = np.lexsort((gallery, -score.cpu().numpy(), query))
    query, gallery, score = query[order], gallery[order], score[_to(queries.device, order)[0]]
    place = np.arange(len(query)) - np.searchsorted(query, query)

    number = _block_numbers(query, len(queries), _TILE[queries.device.type][0])
    members = _groups(number[query])
    by_gallery = np.argsort(pairs.gallery, kind="stable")
    same = [by_gallery[group] for group in _groups(number[pairs.query[by_gallery]])]
    row = np.zeros(len(queries), dtype=np.int64)
    blocks = []
    for mine, equal in zip(members, same, strict=True):
        rows = np.unique(query[mine])
        row[rows] = np.arange(len(rows))
        indices = place[mine], row[query[mine]], gallery[mine]
        shared = row[pairs.query[equal]], pairs.gallery[equal]
        blocks.append(_block(space, queries, norms, rows, indices, score, mine, shared))
    _count(space, queries, norms, blocks)

    closer = np.zeros(len(query), dtype=np.int64)
    for mine, block in zip(members, blocks, strict=True):
        closer[mine] = block.closer.cpu().numpy()[place[mine], row[query[mine]]]
    return PositiveRanks(query, place + 1 + closer)


def rank_all_positives(
    space: Space,
    queries: Tensor,
    query_pids: NDArray[np.int64],
    query_camids: NDArray[np.int64],
    gallery_pids: NDArray[np.int64],
    gallery_camids: NDArray[np.int64],
    camera_rule: bool,
) -> PositiveRanks:
    """:func:`rank_positives` of all pairs of the same person, batch by batch."""
    ids = query_pids, query_camids, gallery_pids, gallery_camids
    ranks = [
        rank_positives(space, queries, pairs) for pairs in same_person_pairs(*ids, camera_rule)
    ]
    none = np.zeros(0, dtype=np.int64)
    return PositiveRanks(
        np.concatenate([none, *(each.query for each in ranks)]),
        np.concatenate([none, *(each.rank for each in ranks)]),
    )


def _block_numbers(query: NDArray[np.int64], total: int, height: int) -> NDArray[np.int64]:
    """(total,) number of the block of each query, from 0; -1 without a correct image.

    Queries with about equally many correct images share a block, so that padding is small.
    """
    count = np.bincount(query, minlength=total)
    order = np.argsort(-count, kind="stable")[: np.count_nonzero(count)]
    number = np.full(total, -1)
    start = block = 0
    while start < len(order):
        stop = start + max(1, min(height, _BLOCK_POSITIVES // int(count[order[start]])))
        number[order[start:stop]] = block
        start, block = stop, block + 1
    return number


def _groups(number: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Positions of 0, 1, 2, … in ``number``, each in ascending order; -1 is left out."""
    order = np.argsort(number, kind="stable")
    bounds = np.searchsorted(number[order], np.arange(number.max(initial=-1) + 2))
    return np.split(order, bounds)[1:-1]


def _block(
    space: Space,
    queries: Tensor,
    norms: Tensor,
    rows: NDArray[np.int64],
    indices: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]],
    score: Tensor,
    members: NDArray[np.int64],
    shared: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> _Block:
    """Make a block of the queries ``rows`` and their correct images (place, row, gallery row)."""
    device = queries.device
    place, row, gallery, member, chosen = _to(device, *indices, members, rows)
    shape = (int(indices[0].max()) + 1, len(rows))
    padded_score = torch.full(shape, torch.inf, dtype=torch.float64, device=device)
    padded_score[place, row] = score[member]
    padded_gallery = torch.full(shape, -1, dtype=torch.int64, device=device)
    padded_gallery[place, row] = gallery
    coarse = space.coarse(queries[chosen], norms[chosen])
    same_query, same_gallery = _to(device, *shared)
    return _Block(
        query=chosen,
        coarse=coarse.float(),
        square=coarse.square().sum(1),
        score=padded_score,
        gallery=padded_gallery,
        closer=torch.zeros(shape, dtype=torch.int64, device=device),
        same_query=same_query,
        same_gallery=same_gallery,
    )


def _count(space: Space, queries: Tensor, norms: Tensor, blocks: list[_Block]) -> None:
    """Add to ``closer`` of every block the wrong images of the whole gallery.

    Each task compares one chunk of the gallery with all blocks, so it is prepared once.
    """
    device = queries.device
    width = _TILE[device.type][1]
    lock = Lock()

    def chunk(start: int) -> None:
        counts = _count_chunk(space, queries, norms, blocks, start, start + width)
        with lock:  # integers: the order in which chunks arrive does not matter
            for block, closer in zip(blocks, counts, strict=True):
                block.closer += closer

    with full_float32(device):
        parallel_map(chunk, range(0, len(space.gallery), width), device)


def _count_chunk(
    space: Space, queries: Tensor, norms: Tensor, blocks: list[_Block], start: int, stop: int
) -> list[Tensor]:
    """For each block, (P, B) wrong images among gallery rows [start, stop) that are closer."""
    coarse = space.coarse(space.gallery[start:stop], space.norms[start:stop])
    square = coarse.square().sum(1)
    padding = -len(coarse) % SEGMENT
    columns = pad(coarse.float(), (0, 0, 0, padding)).T
    half = pad(square.float() / 2, (0, padding), value=torch.inf)
    counts = []
    for block in blocks:
        tile = torch.mm(block.coarse, columns).sub_(half)
        low, high = torch.searchsorted(
            block.same_gallery, block.same_gallery.new_tensor([start, stop])
        ).tolist()
        tile[block.same_query[low:high], block.same_gallery[low:high] - start] = -torch.inf
        level = space.level(block.square, block.score)
        tolerance = space.tolerance(block.square, square.max())
        closer, place, row, column = count_tile(
            tile, (level - tolerance).float(), (level + tolerance).float()
        )
        gallery = column + start
        score = space.exact(queries, norms, block.query[row], gallery)
        own = block.score[place, row]
        beats = (score > own) | ((score == own) & (gallery < block.gallery[place, row]))
        counts.append(closer.index_put_((place, row), beats.long(), accumulate=True))
    return counts


def count_tile(tile: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Count values above ``high``, and list those between ``low`` and ``high``.

    Args:
        tile: (B, C) float32, C a multiple of SEGMENT.
        low, high: (P, B) float32 thresholds.

    Returns:
        (P, B) int64 counts of values above ``high``, and the (n,) int64 indices p, b, c of the
        values in [low, high], ends included.
    """
    segments = tile.view(len(tile), -1, SEGMENT)
    highest = tile.amax(dim=1)
    above = torch.empty_like(segments)
    certain = tile.new_zeros(len(low), *segments.shape[:2])
    possible = torch.zeros_like(certain)
    # Comparisons that write floats are vectorised in torch; those that write bools are not.
    for place in range(len(low)):
        rows: slice | Tensor = slice(None)
        values = segments
        met = (highest >= low[place]).nonzero()[:, 0]
        if 2 * len(met) < len(tile):  # with a good model few rows have closer images
            rows, values = met, segments.index_select(0, met)
        out = above[: len(values)]
        torch.gt(values, high[place, rows, None, None], out=out)
        certain[place, rows] = torch.sum(out, 2)
        torch.ge(values, low[place, rows, None, None], out=out)
        possible[place, rows] = torch.sum(out, 2)
    p, b, segment = (certain != possible).nonzero(as_tuple=True)
    values = segments.flatten(0, 1).index_select(0, b * segments.shape[1] + segment)
    near = (values >= low[p, b, None]) & (values <= high[p, b, None])
    hit, offset = near.nonzero(as_tuple=True)
    return certain.sum(2).long(), p[hit], b[hit], segment[hit] * SEGMENT + offset


def _to(device: torch.device, *arrays: NDArray[np.int64]) -> list[Tensor]:
    return [torch.from_numpy(array).to(device) for array in arrays]
