"""Rank-1 and mAP for every pair of query camera and gallery camera."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from reid_dhm.devices import parse_device
from reid_dhm.errors import InputError
from reid_dhm.retrieval import metrics
from reid_dhm.retrieval.checks import check_sets, no_match
from reid_dhm.retrieval.distances import Space
from reid_dhm.retrieval.embeddings import EmbeddingSet
from reid_dhm.retrieval.protocol import Protocol
from reid_dhm.retrieval.ranking.counting import rank_all_positives


@dataclass(frozen=True, eq=False)
class CameraPairs:
    """Figures for queries of one camera against the gallery of another.

    Attributes:
        query_cameras: (A,) int64 camids, ascending.
        gallery_cameras: (B,) int64 camids, ascending.
        rank1: (A, B) float64, NaN where no query of the row has a correct image in the column.
        mean_ap: (A, B) float64, NaN likewise.
        num_queries: (A, B) int64, queries with a correct image.
    """

    query_cameras: NDArray[np.int64]
    gallery_cameras: NDArray[np.int64]
    rank1: NDArray[np.float64]
    mean_ap: NDArray[np.float64]
    num_queries: NDArray[np.int64]


def camera_pairs(
    query: EmbeddingSet,
    gallery: EmbeddingSet,
    *,
    metric: str = "cosine",
    camera_rule: bool = True,
    ap: str = "standard",
    device: str = "auto",
) -> CameraPairs:
    """Rank the gallery images of each camera separately, for the queries of every camera.

    Under the camera rule a camera is not paired with itself: those entries are NaN. The total
    cost is about that of one evaluation.

    Args:
        query, gallery, metric, camera_rule, ap, device: as for :func:`.rank_gallery`.

    Raises:
        InputError: sets that cannot be ranked, or no query with a correct gallery image.
    """
    protocol = Protocol(metric, camera_rule, ap)
    check_sets(query, gallery)
    where = parse_device(device)
    space = Space.of(metric, torch.from_numpy(gallery.embeddings).to(where))
    queries = torch.from_numpy(query.embeddings).to(where)
    space.query_norms(queries)  # reports a zero row by its number among all queries
    rows, columns = np.unique(query.camids), np.unique(gallery.camids)
    figures = np.zeros((3, len(rows), len(columns)))  # queries counted, right at rank 1, sum of AP
    for column, camera in enumerate(columns):
        asked = np.flatnonzero((query.camids != camera) | (not camera_rule))
        shown = np.flatnonzero(gallery.camids == camera)
        first, precision = _rank_camera(space, queries, query, gallery, asked, shown, protocol)
        found = first > 0
        row = np.searchsorted(rows, query.camids[asked[found]])
        for figure, each in enumerate((None, first[found] == 1, precision[found])):
            figures[figure, :, column] = np.bincount(row, weights=each, minlength=len(rows))
    count, right, total = figures
    if not count.any():
        raise InputError(no_match(query, gallery, camera_rule))
    rank1, mean_ap = (
        np.divide(figure, count, out=np.full(count.shape, np.nan), where=count > 0)
        for figure in (right, total)
    )
    return CameraPairs(rows, columns, rank1, mean_ap, count.astype(np.int64))


def _rank_camera(
    space: Space,
    queries: torch.Tensor,
    query: EmbeddingSet,
    gallery: EmbeddingSet,
    asked: NDArray[np.int64],
    shown: NDArray[np.int64],
    protocol: Protocol,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """First rank and AP of the query rows ``asked`` among the gallery rows ``shown``."""
    left, right = (torch.from_numpy(rows).to(queries.device) for rows in (asked, shown))
    part = replace(space, gallery=space.gallery[right], norms=space.norms[right])
    ids = query.pids[asked], query.camids[asked], gallery.pids[shown], gallery.camids[shown]
    found = rank_all_positives(part, queries[left], *ids, protocol.camera_rule)
    first = metrics.first_rank(found.query, found.rank, len(asked))
    return first, metrics.average_precision(found.query, found.rank, len(asked), protocol.ap)
