"""CUHK03's classic protocol: one random gallery image per person, averaged over draws.

Ranks are counted among the drawn images; the ranked lists are those of the whole gallery.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from threading import Lock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reid_dhm.devices import full_float32, parse_device
from reid_dhm.errors import InputError
from reid_dhm.retrieval.checks import check_lengths, check_sets, no_match
from reid_dhm.retrieval.distances import Space
from reid_dhm.retrieval.embeddings import EmbeddingSet, is_distractor
from reid_dhm.retrieval.parallel import parallel_map
from reid_dhm.retrieval.protocol import Protocol
from reid_dhm.retrieval.ranking.counting import same_person_pairs
from reid_dhm.retrieval.ranking.whole_gallery import Figures, with_lists
from reid_dhm.retrieval.results import RetrievalResult

_TILE = {"cpu": (512, 1024), "cuda": (4096, 8192)}  # (queries, gallery images) at a time


def rank_single_shot(
    query: EmbeddingSet,
    gallery: EmbeddingSet,
    *,
    metric: str = "cosine",
    camera_rule: bool = True,
    repeats: int = 10,
    seed: int = 0,
    ranks: Sequence[int] = (1, 5, 10, 20),
    top_k: int = 10,
    device: str = "auto",
) -> RetrievalResult:
    """Exact ranking of one random gallery image per person, averaged over draws.

    A draw shuffles the gallery and keeps the first image of each person, and of the query's
    person the first that the camera rule allows (Li et al. 2014). All queries share a draw, as
    they share a gallery in the protocol; torchreid's ``eval_cuhk03`` draws for each query, which
    has the same expectation. All distractors (pid 0, unless a query has it) are kept, since each
    is a different person; torchreid keeps one.

    With one correct image at rank r, both its average precision and its inverse negative penalty
    are 1 / r: mAP and mINP are the mean reciprocal rank. (torchreid reports the mAP of the whole
    gallery here, which is that of :func:`.rank_gallery`.)

    Args:
        query, gallery, metric, camera_rule, ranks, top_k, device: as for
            :func:`.rank_gallery`; distances, ties and devices are as exact as there.
        repeats: number of draws, 1 or more.
        seed: of the draws, 0 or more; the draws depend on it and on the ids only.

    Raises:
        InputError: sets that cannot be ranked, or no query with a correct gallery image.
    """
    protocol = Protocol(metric, camera_rule, gallery="single-shot", repeats=repeats, seed=seed)
    check_sets(query, gallery)
    check_lengths(ranks, top_k)
    started = time.perf_counter()
    where = parse_device(device)
    space = Space.of(metric, torch.from_numpy(gallery.embeddings).to(where))
    queries = torch.from_numpy(query.embeddings).to(where)
    norms = space.query_norms(queries)
    first = np.zeros((repeats, len(query)), dtype=np.int64)
    rng = np.random.default_rng(seed)
    for draw in first:
        own, shown = draw_gallery(rng, query, gallery, camera_rule)
        asked = np.flatnonzero(own >= 0)
        if not len(asked):
            raise InputError(no_match(query, gallery, camera_rule))
        draw[asked] = _ranks(space, queries, norms, query, gallery, asked, own[asked], shown)
    valid = first[0] > 0
    reciprocal = np.where(valid, (1 / np.maximum(first, 1)).mean(axis=0), np.nan)
    figures = Figures(first, reciprocal, reciprocal, time.perf_counter() - started)
    return with_lists(figures, query, gallery, protocol, ranks, top_k, device)


def draw_gallery(
    rng: np.random.Generator, query: EmbeddingSet, gallery: EmbeddingSet, camera_rule: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw one gallery image per person.

    Returns:
        own: (Q,) gallery row of the query's person, -1 if the camera rule allows none.
        shown: (n,) ascending gallery rows, one per person, and all distractors.
    """
    order = rng.permutation(len(gallery))
    place = np.argsort(order)
    own = np.full(len(query), -1, dtype=np.int64)
    for pairs in same_person_pairs(
        query.pids, query.camids, gallery.pids, gallery.camids, camera_rule
    ):
        asked, starts = np.unique(pairs.query[~pairs.ignored], return_index=True)
        if len(asked):
            places = place[pairs.gallery[~pairs.ignored]]
            own[asked] = order[np.minimum.reduceat(places, starts)]
    _, first = np.unique(gallery.pids[order], return_index=True)
    shown = np.concatenate([order[first], np.flatnonzero(is_distractor(query, gallery))])
    return own, np.unique(shown)


def _ranks(
    space: Space,
    queries: Tensor,
    norms: Tensor,
    query: EmbeddingSet,
    gallery: EmbeddingSet,
    asked: NDArray[np.int64],
    own: NDArray[np.int64],
    shown: NDArray[np.int64],
) -> NDArray[np.int64]:
    """(n,) ranks of the gallery rows ``own`` of the queries ``asked`` among the rows ``shown``.

    As in :mod:`.counting`, a float32 product decides clear cases and the exact score the rest.
    """
    device = queries.device
    height, width = _TILE[device.type]
    pids, own_rows, rows, shown_pids, shown_rows = (
        torch.from_numpy(array).to(device)
        for array in (query.pids[asked], own, asked, gallery.pids[shown], shown)
    )
    score = space.exact_many(queries, norms, rows, own_rows)
    closer = torch.zeros_like(own_rows)
    lock = Lock()

    def chunk(start: int) -> None:
        columns = shown_rows[start : start + width]
        coarse = space.coarse(space.gallery[columns], space.norms[columns])
        squares = coarse.square().sum(1)
        right, half, largest = coarse.float().T, squares.float() / 2, squares.max()
        counts = torch.zeros_like(closer)
        for first in range(0, len(rows), height):
            block = slice(first, first + height)
            left = space.coarse(queries[rows[block]], norms[rows[block]])
            square = left.square().sum(1)
            tile = torch.mm(left.float(), right).sub_(half)
            same = pids[block, None] == shown_pids[start : start + width]
            tile.masked_fill_(same, -torch.inf)
            level = space.level(square, score[block])[:, None]
            tolerance = space.tolerance(square, largest)[:, None]
            low, high = (level - tolerance).float(), (level + tolerance).float()
            counts[block] = (tile > high).sum(1)
            row, column = ((tile >= low) & (tile <= high)).nonzero(as_tuple=True)
            row, near = row + first, columns[column]
            near_score = space.exact(queries, norms, rows[row], near)
            beats = near_score > score[row]
            beats |= (near_score == score[row]) & (near < own_rows[row])
            counts.index_add_(0, row, beats.long())
        with lock:  # integers: the order in which chunks arrive does not matter
            closer.add_(counts)

    with full_float32(device):
        parallel_map(chunk, range(0, len(shown_rows), width), device)
    return closer.cpu().numpy() + 1
