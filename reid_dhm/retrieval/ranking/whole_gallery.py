"""Rank the whole gallery for each query: CMC, mAP, mINP and the top of every ranked list.

Counting gives the figures and FAISS the lists; both use the same exact score and are checked
against each other.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from reid_dhm.devices import parse_device
from reid_dhm.errors import InputError
from reid_dhm.retrieval import metrics
from reid_dhm.retrieval.checks import check_lengths, check_sets, no_match
from reid_dhm.retrieval.distances import Space
from reid_dhm.retrieval.embeddings import EmbeddingSet
from reid_dhm.retrieval.index import GalleryIndex
from reid_dhm.retrieval.protocol import Protocol
from reid_dhm.retrieval.ranking.counting import rank_all_positives, same_person_pairs
from reid_dhm.retrieval.results import RetrievalResult

_QUERIES = 4096  # queries whose lists are filtered at a time


def rank_gallery(
    query: EmbeddingSet,
    gallery: EmbeddingSet,
    *,
    metric: str = "cosine",
    camera_rule: bool = True,
    ap: str = "standard",
    ranks: Sequence[int] = (1, 5, 10, 20),
    top_k: int = 10,
    device: str = "auto",
) -> RetrievalResult:
    """Exact ranking of the gallery for every query.

    Scores are those of :meth:`.Space.exact`; equal scores rank by gallery row. The figures do
    not depend on block size, threads or device.

    Args:
        query, gallery: of equal dimension, gallery without junk (negative pids).
        metric, camera_rule, ap: see :class:`Protocol`.
        ranks: values of k for CMC@k, each 1 or more; they may exceed the gallery size.
        top_k: length of the lists.
        device: of the counting: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``. FAISS uses the CPU for
            ``cpu``, else all GPUs that it sees, if any.

    Raises:
        InputError: sets that cannot be ranked, or no query with a correct gallery image.
        RuntimeError: counting and FAISS disagree, which would be a bug of this package.
    """
    protocol = Protocol(metric, camera_rule, ap)
    check_sets(query, gallery)
    check_lengths(ranks, top_k)
    started = time.perf_counter()
    where = parse_device(device)
    space = Space.of(metric, torch.from_numpy(gallery.embeddings).to(where))
    queries = torch.from_numpy(query.embeddings).to(where)
    ids = query.pids, query.camids, gallery.pids, gallery.camids
    found = rank_all_positives(space, queries, *ids, camera_rule)
    first = metrics.first_rank(found.query, found.rank, len(query))
    precision = metrics.average_precision(found.query, found.rank, len(query), ap)
    penalty = metrics.inverse_negative_penalty(found.query, found.rank, len(query))
    ranked = time.perf_counter()
    if not first.any():
        raise InputError(no_match(query, gallery, camera_rule))

    figures = Figures(first, precision, penalty, ranked - started)
    result = with_lists(figures, query, gallery, protocol, ranks, top_k, device)
    _check_agreement(first, result.topk_indices, query, gallery)
    return result


class Figures(NamedTuple):
    """What counting gives: fields of :class:`RetrievalResult`, and the seconds it took."""

    first_rank: NDArray[np.int64]
    average_precision: NDArray[np.float64]
    inverse_negative_penalty: NDArray[np.float64]
    seconds: float


def with_lists(
    figures: Figures,
    query: EmbeddingSet,
    gallery: EmbeddingSet,
    protocol: Protocol,
    ranks: Sequence[int],
    top_k: int,
    device: str,
) -> RetrievalResult:
    """The figures with the top of every query's list, from a FAISS index of the whole gallery.

    Args:
        figures: of the same query and gallery.
        query, gallery, ranks, top_k, device: as for :func:`rank_gallery`.
        protocol: metric and camera rule are used.
    """
    started = time.perf_counter()
    index, scores, indices = _ranked_lists(query, gallery, protocol, top_k, device)
    return RetrievalResult(
        protocol=protocol,
        num_gallery=len(gallery),
        average_precision=figures.average_precision,
        inverse_negative_penalty=figures.inverse_negative_penalty,
        first_rank=figures.first_rank,
        topk_indices=indices,
        topk_scores=scores,
        ranks=tuple(ranks),
        index=index.name,
        device=index.device,
        seconds={"rank": figures.seconds, "search": time.perf_counter() - started},
    )


def _ranked_lists(
    query: EmbeddingSet, gallery: EmbeddingSet, protocol: Protocol, k: int, device: str
) -> tuple[GalleryIndex, NDArray[np.float64], NDArray[np.int64]]:
    camera_rule = protocol.camera_rule
    # FAISS may lack the GPUs that torch has: its CPU build is installed in many places.
    searcher = "cpu" if device == "cpu" else "auto"
    index = GalleryIndex(gallery.embeddings, metric=protocol.metric, device=searcher)
    scores = np.full((len(query), k), -np.inf)
    indices = np.full((len(query), k), -1, dtype=np.int64)
    for start in range(0, len(query), _QUERIES):
        rows = slice(start, start + _QUERIES)
        pids, camids = query.pids[rows], query.camids[rows]
        ignored = [
            pairs.query[pairs.ignored]
            for pairs in same_person_pairs(pids, camids, gallery.pids, gallery.camids, camera_rule)
        ]
        extra = int(np.bincount(np.concatenate(ignored), minlength=1).max())
        wide_scores, wide = index.search(query.embeddings[rows], min(k + extra, len(gallery)))
        left_out = (
            camera_rule
            & (gallery.pids[wide] == pids[:, None])
            & (gallery.camids[wide] == camids[:, None])
        )
        order = np.argsort(left_out, axis=1, kind="stable")[:, :k]
        kept = ~np.take_along_axis(left_out, order, axis=1)
        width = order.shape[1]
        scores[rows, :width] = np.where(
            kept, np.take_along_axis(wide_scores, order, axis=1), -np.inf
        )
        indices[rows, :width] = np.where(kept, np.take_along_axis(wide, order, axis=1), -1)
    return index, scores, indices


def _check_agreement(
    first: NDArray[np.int64],
    indices: NDArray[np.int64],
    query: EmbeddingSet,
    gallery: EmbeddingSet,
) -> None:
    """Check that the first correct image of each FAISS list has the counted rank."""
    correct = (gallery.pids[indices] == query.pids[:, None]) & (indices >= 0)
    listed = np.where(correct.any(axis=1), correct.argmax(axis=1) + 1, 0)
    counted = np.where(first <= indices.shape[1], first, 0)
    if (listed != counted).any():
        row = int(np.argmax(listed != counted))
        raise RuntimeError(
            f"query {row}: the first correct image ranks {first[row]} by counting and "
            f"{listed[row]} in the FAISS list; please report this"
        )
