"""Recall of an approximate index, measured on a sample of the gallery's own embeddings."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from reid_dhm.gallery.records import EmbeddingPage

Pages = Callable[[], Iterator[EmbeddingPage]]
"""Reads all embeddings, page after page in the order of their keys; may be called repeatedly."""

NEIGHBOURS = 10
"""The k of recall@k."""


def every(pages: Pages, step: int) -> Iterator[EmbeddingPage]:
    """Every step-th row of all pages."""
    offset = 0
    for page in pages():
        yield EmbeddingPage._make(column[-offset % step :: step] for column in page)
        offset += len(page.keys)


def up_to(pages: Pages, key: int) -> Pages:
    """All pages without the rows that have a higher key."""

    def fewer() -> Iterator[EmbeddingPage]:
        for page in pages():
            count = int(np.searchsorted(page.keys, key, "right"))
            yield EmbeddingPage._make(column[:count] for column in page)

    return fewer


def sample_searches(
    pages: Pages, count: int, wanted: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Sample vectors, and what an exact search for each finds besides itself.

    Args:
        pages: all vectors.
        count: number of vectors.
        wanted: about how many searches.

    Returns:
        queries: (S, D) float32.
        nearest: (S, 10) int64 keys of their nearest neighbours, padded with -1.
    """
    rows = [page.embeddings for page in every(pages, max(1, count // wanted))]
    queries = np.concatenate(rows).astype(np.float32)
    scores = np.empty((len(queries), 0), np.float32)
    keys = np.empty((len(queries), 0), np.int64)
    for page in pages():
        block = queries @ page.embeddings.astype(np.float32).T
        scores = np.concatenate([scores, block], axis=1)
        keys = np.concatenate([keys, np.broadcast_to(page.keys, block.shape)], axis=1)
        kept = np.argpartition(-scores, min(NEIGHBOURS + 1, scores.shape[1] - 1))
        best = kept[:, : NEIGHBOURS + 1]
        scores, keys = np.take_along_axis(scores, best, 1), np.take_along_axis(keys, best, 1)
    order = np.argsort(-scores, axis=1)
    found = np.take_along_axis(keys, order, 1)[:, 1:]  # each is the nearest to itself
    return queries, np.pad(found, ((0, 0), (0, NEIGHBOURS - found.shape[1])), constant_values=-1)


def recall_by_depth(
    found: NDArray[np.int64], nearest: NDArray[np.int64], depths: tuple[int, ...]
) -> list[float]:
    """Share of the nearest neighbours among the first proposals.

    Args:
        found: (S, P) keys proposed, best first, the searched vector itself included.
        nearest: as :func:`sample_searches` returns them.
        depths: numbers of proposals per neighbour to evaluate at.
    """
    match = found[:, :, None] == nearest[:, None, :]
    place = np.where(match.any(1), match.argmax(1), found.shape[1])[nearest >= 0]
    return [float(np.mean(place < depth * (NEIGHBOURS + 1))) for depth in depths]
