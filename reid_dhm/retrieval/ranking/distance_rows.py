"""Rank given distances that come in blocks of rows, such as those of re-ranking.

Equal distances rank by gallery row. For embeddings use :mod:`.whole_gallery`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from reid_dhm.errors import InputError
from reid_dhm.retrieval import metrics
from reid_dhm.retrieval.checks import check_lengths, check_sets, no_match
from reid_dhm.retrieval.embeddings import EmbeddingSet
from reid_dhm.retrieval.parallel import parallel_map
from reid_dhm.retrieval.protocol import Protocol
from reid_dhm.retrieval.ranking.counting import SEGMENT, count_tile
from reid_dhm.retrieval.results import RetrievalResult

Rows = Callable[[int, int], NDArray[np.float32]]

_CPU = torch.device("cpu")
_BLOCK = 2**23  # distances held at a time
_SHARE = 2**20  # distances per task of a thread


def rank_rows(
    rows: Rows,
    query: EmbeddingSet,
    gallery: EmbeddingSet,
    protocol: Protocol,
    *,
    ranks: Sequence[int] = (1, 5, 10, 20),
    top_k: int = 10,
    index: str = "k-reciprocal re-ranking",
) -> RetrievalResult:
    """Exact ranking of the gallery for every query by given distances.

    Args:
        rows: ``rows(start, stop)`` gives the (stop - start, G) float32 distances of these queries
            to the gallery, finite, lower is closer; called once for each query, in order.
        query, gallery: ids of both, gallery without junk; the embeddings are not used.
        protocol: camera rule and AP; its metric is that of the original embeddings.
        ranks: values of k for CMC@k, each 1 or more; they may exceed the gallery size.
        top_k: length of the lists.
        index: name of the source of the distances in the result.

    Returns:
        A result whose scores are minus the distance; ``seconds["rerank"]`` is the time of this
        function, ``rows`` included.

    Raises:
        InputError: sets that cannot be ranked, a distance that is not finite, or no query with a
            correct gallery image.
        ValueError: ``rows`` returned another shape.
    """
    check_sets(query, gallery)
    check_lengths(ranks, top_k)
    started = time.perf_counter()
    height = max(1, _BLOCK // len(gallery))
    blocks = []
    for start in range(0, len(query), height):
        stop = min(start + height, len(query))
        distances = np.asarray(rows(start, stop), dtype=np.float32)
        if distances.shape != (stop - start, len(gallery)):
            raise ValueError(f"rows {start} to {stop} have shape {distances.shape}")
        blocks += _rank(distances, start, query, gallery, protocol.camera_rule, top_k)
    positive = np.concatenate([block.query for block in blocks])
    rank = np.concatenate([block.rank for block in blocks])
    first = metrics.first_rank(positive, rank, len(query))
    if not first.any():
        raise InputError(no_match(query, gallery, protocol.camera_rule))
    return RetrievalResult(
        protocol=protocol,
        num_gallery=len(gallery),
        average_precision=metrics.average_precision(positive, rank, len(query), protocol.ap),
        inverse_negative_penalty=metrics.inverse_negative_penalty(positive, rank, len(query)),
        first_rank=first,
        topk_indices=np.concatenate([block.indices for block in blocks]),
        topk_scores=np.concatenate([block.scores for block in blocks]),
        ranks=tuple(ranks),
        index=index,
        device="cpu",
        seconds={"rerank": time.perf_counter() - started},
    )


@dataclass(frozen=True, eq=False)
class _Ranked:
    """Ranked queries.

    Attributes:
        query, rank: (n,) query row and rank of each correct image, ascending.
        indices: (B, k) gallery rows of the lists, -1 where fewer remain.
        scores: (B, k) float64, -inf where fewer remain.
    """

    query: NDArray[np.int64]
    rank: NDArray[np.int64]
    indices: NDArray[np.int64]
    scores: NDArray[np.float64]


def _rank(
    distances: NDArray[np.float32],
    start: int,
    query: EmbeddingSet,
    gallery: EmbeddingSet,
    camera_rule: bool,
    k: int,
) -> list[_Ranked]:
    """Rank the queries from ``start`` on by their (B, G) distances, on all threads."""

    def task(first: int) -> _Ranked:
        share = slice(first, first + height)
        rows = slice(start + first, start + min(first + height, len(distances)))
        same = query.pids[rows, None] == gallery.pids
        ignored = same & (query.camids[rows, None] == gallery.camids) & camera_rule
        return _rank_share(distances[share], start + first, same, ignored, k)

    height = max(1, _SHARE // len(gallery))
    return parallel_map(task, range(0, len(distances), height), _CPU)


def _rank_share(
    distances: NDArray[np.float32],
    start: int,
    same: NDArray[np.bool_],
    ignored: NDArray[np.bool_],
    k: int,
) -> _Ranked:
    """Rank some queries; ``same`` and ``ignored`` are (B, G) masks of the query's person."""
    width = distances.shape[1]
    padded = pad(-torch.from_numpy(distances), (0, -width % SEGMENT), value=-torch.inf)
    values = padded[:, :width]
    if not torch.isfinite(torch.stack(values.aminmax())).all():
        unfit = start + int(np.argmax(~np.isfinite(distances).all(axis=1)))
        raise InputError(f"query {unfit} has a distance that is not finite: check the embeddings")
    values.masked_fill_(torch.from_numpy(ignored), -torch.inf)
    scores, indices = _best(values, k)

    query, gallery = np.nonzero(same & ~ignored)
    order = np.lexsort((gallery, distances[query, gallery], query))
    query, gallery = query[order], gallery[order]
    place = np.arange(len(query)) - np.searchsorted(query, query)
    shape = (place.max(initial=-1) + 1, len(distances))
    own, standing = torch.full(shape, torch.inf), torch.zeros(shape, dtype=torch.int64)
    own[place, query] = values[query, gallery]
    standing[place, query] = torch.from_numpy(gallery)
    values.masked_fill_(torch.from_numpy(same), -torch.inf)
    closer, rival, row, column = count_tile(padded, own, own)
    before = column < standing[rival, row]
    closer.index_put_((rival, row), before.long(), accumulate=True)
    return _Ranked(start + query, place + 1 + closer[place, query].numpy(), indices, scores)


def _best(values: Tensor, k: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(B, k) highest values of each row and their columns, equal ones in column order.

    -inf means no value: the rest of that row is -inf and -1.
    """
    lowest = torch.finfo(values.dtype).min
    bar = values.topk(min(k, values.shape[1]), dim=1).values[:, -1:].clamp(min=lowest)
    row, column = (ids.numpy() for ids in (values >= bar).nonzero(as_tuple=True))
    value = values.numpy()[row, column].astype(np.float64)
    order = np.lexsort((column, -value, row))
    place = np.arange(len(row)) - np.searchsorted(row, row)
    kept = place < k
    scores = np.full((len(values), k), -np.inf)
    indices = np.full((len(values), k), -1, dtype=np.int64)
    scores[row[kept], place[kept]] = value[order][kept]
    indices[row[kept], place[kept]] = column[order][kept]
    return scores, indices
