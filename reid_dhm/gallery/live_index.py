"""An index that follows its gallery, and whose proposals the gallery's own embeddings decide.

Derived from the gallery, it is kept in ``Gallery.cache`` and made anew whenever it cannot be
trusted. What indexes are is :mod:`reid_dhm.gallery.vectors`'; none is known here by name but the
default.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from reid_dhm.errors import InputError
from reid_dhm.gallery import index_cache
from reid_dhm.gallery.faiss_index import FaissIndex
from reid_dhm.gallery.queries import EMBEDDINGS
from reid_dhm.gallery.queries import page as page_of
from reid_dhm.gallery.records import EmbeddingPage, State
from reid_dhm.gallery.store import Gallery
from reid_dhm.gallery.vectors import Filter, MakeIndex, VectorIndex
from reid_dhm.retrieval.distances import relative_rounding

_PAGE = 65536
_SLACK = 16  # proposals beyond those asked for, so that rounding rarely decides at the end
_WORTH_SAVING = 0.05  # share of an index that must be new


class LiveIndex:
    """One gallery's index, which threads may share, each with a connection of its own.

    Args:
        kind: what ``make`` makes; ``Flat`` is exact.
        make: makes an empty index.
    """

    def __init__(self, kind: str = "Flat", make: MakeIndex = FaissIndex) -> None:
        self.kind = kind
        self._make = make
        self._lock = threading.RLock()
        self._index: VectorIndex | None = None
        self._state: State | None = None
        self._saved = 0  # vectors in the cache

    def opened(self, gallery: Gallery) -> VectorIndex:
        """The index, as the gallery is now; for reading what it is called and how good it is.

        Raises:
            InputError: an empty gallery, or a kind that is unknown or needs more tracklets.
        """
        with self._lock:
            return self._follow(gallery)

    def search(
        self,
        gallery: Gallery,
        queries: NDArray[np.float32],
        k: int,
        wanted: Filter | None = None,
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """The k most similar tracklets of each query, by exact cosine similarity.

        Args:
            gallery: the calling thread's own connection, always of the same gallery.
            queries: (Q, D) float32 unit rows.
            k: how many, 1 or more.
            wanted: which may be found.

        Returns:
            similarities: (Q, k) float64, best first, equal ones by key; -inf where there are
                fewer.
            keys: (Q, k) int64, -1 where there are fewer.

        Raises:
            InputError: as :meth:`opened`.
        """
        asked = k + _SLACK
        while True:
            with self._lock:
                index = self._follow(gallery)
                asked = min(max(asked, index.candidates * k), len(index))
                proposed, candidates = index.search(queries, asked, wanted)
                exact, complete = index.exact, asked >= len(index)
            similarities, keys = _scored(gallery, queries, candidates)
            if complete or not exact or _sure(proposed, similarities, k, queries.shape[1]):
                return _padded(similarities, keys, k)
            asked *= 4  # many are equal, or were deleted meanwhile

    # Following the gallery

    def _follow(self, gallery: Gallery) -> VectorIndex:
        """The index up to date: as it is, with what is new, without what is gone, or made anew."""
        index, known = self._index, self._state
        if index is not None and known is not None and known.generation == _generation(gallery):
            return index
        state, dim = gallery.state(), gallery.dim
        if dim is None or not state.tracklets:
            self._index = self._state = None
            raise nobody_yet(gallery)
        if index is None:
            index = self._make(dim, self.kind)
            known = index_cache.load(gallery, index)
            self._saved = len(index) if known is not None else 0
        usable = known is not None and _removed(gallery, index, known, state)
        if not (usable and _added(gallery, index) and len(index) >= state.tracklets):
            self._index = self._state = None  # whatever happens now, never use a half-made one
            index.fill(lambda: _pages(gallery), state.tracklets)
            self._saved = 0
        self._index, self._state = index, state
        if abs(len(index) - self._saved) > _WORTH_SAVING * len(index):
            index_cache.save(gallery, index, state)
            self._saved = len(index)
        return index


def nobody_yet(gallery: Gallery) -> InputError:
    """What to say of a gallery in which nothing can be searched."""
    return InputError(
        f"{gallery.folder} holds nobody yet: index a video into it first "
        f"(reid-dhm index-video --gallery {gallery.folder})"
    )


def _generation(gallery: Gallery) -> int:
    """That of :meth:`Gallery.state`, without counting a million tracklets before every search."""
    with gallery.reading() as db:
        return int(db.execute("SELECT generation FROM gallery").fetchone()[0])


def _removed(gallery: Gallery, index: VectorIndex, known: State, state: State) -> bool:
    """Take out of an index what was deleted since; False if it has to be made anew."""
    if known.deletions == state.deletions:
        return True
    return index.remove(np.setdiff1d(index.keys(), gallery.keys(), assume_unique=True))


def _added(gallery: Gallery, index: VectorIndex) -> bool:
    """Add to an index what is new; False if it has to be made anew."""
    keys = index.keys()
    return all(index.add(p) for p in _pages(gallery, after=int(keys[-1]) if len(keys) else 0))


def _pages(gallery: Gallery, after: int = 0) -> Iterator[EmbeddingPage]:
    while len((page := gallery.embeddings(after=after, limit=_PAGE)).keys):
        yield page
        after = int(page.keys[-1])


# Scoring


def _scored(
    gallery: Gallery, queries: NDArray[np.float32], candidates: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(Q, C) exact scores of candidates, best first, equal ones by key; what is gone goes last.

    A score is the float64 inner product with the float16 vector that the gallery holds.
    """
    keys, embeddings = _embeddings(gallery, np.unique(candidates[candidates >= 0]))
    places = np.minimum(np.searchsorted(keys, candidates), max(0, len(keys) - 1))
    there = keys[places] == candidates if len(keys) else np.zeros(candidates.shape, bool)
    scores = np.full(candidates.shape, -np.inf)
    query, place = np.nonzero(there)
    left, right = queries[query].astype(np.float64), embeddings[places[there]].astype(np.float64)
    scores[query, place] = np.einsum("nd,nd->n", left, right)
    kept = np.where(there, candidates, -1)
    order = np.lexsort((kept, -scores), axis=1)
    return np.take_along_axis(scores, order, 1), np.take_along_axis(kept, order, 1)


def _embeddings(
    gallery: Gallery, keys: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float16]]:
    """Keys that are still in the gallery, ascending, and their (n, D) embeddings."""
    sql = EMBEDDINGS + " WHERE e.tracklet IN (SELECT value FROM json_each(?)) ORDER BY e.tracklet"
    with gallery.reading() as db:
        found = page_of(db.execute(sql, (json.dumps(keys.tolist()),)).fetchall(), gallery.dim or 0)
    return found.keys, found.embeddings


def _sure(
    proposed: NDArray[np.float32], similarities: NDArray[np.float64], k: int, dim: int
) -> bool:
    """Whether nothing that was not proposed can be among the k best."""
    last = proposed[:, -1].astype(np.float64)
    return bool((similarities[:, k - 1] > last + relative_rounding(dim)).all())


def _padded(
    scores: NDArray[np.float64], keys: NDArray[np.int64], k: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    lacking = ((0, 0), (0, max(0, k - scores.shape[1])))
    return (
        np.pad(scores[:, :k], lacking, constant_values=-np.inf),
        np.pad(keys[:, :k], lacking, constant_values=-1),
    )
