"""An index that follows its gallery, and whose proposals the gallery's own embeddings decide.

Derived from the gallery, it is kept in ``GalleryStore.cache`` and made anew whenever it cannot be
trusted. What indexes are is :mod:`.vectors`'; none is known here by name but the
default.
"""

from __future__ import annotations

import json
import threading

import numpy as np
from numpy.typing import NDArray

from reid_dhm.errors import InputError
from reid_dhm.gallery.index import index_cache
from reid_dhm.gallery.index.faiss_index import FaissIndex
from reid_dhm.gallery.index.vectors import Filter, MakeIndex, VectorIndex
from reid_dhm.gallery.records import State
from reid_dhm.gallery.store.gallery import GalleryStore

_MEANS = """SELECT tracklet, mean FROM embeddings
    WHERE tracklet IN (SELECT value FROM json_each(?)) ORDER BY tracklet"""
_SLACK = 16  # proposals beyond those asked for, so that rounding rarely decides at the end
_WORTH_SAVING = 0.05  # share of an index that must have changed since
_ROUNDING = 1e-5  # of a float32 inner product of unit vectors, with room to spare


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
        self._unsaved = 0  # vectors that came or went since it was kept

    def opened(self, gallery: GalleryStore) -> VectorIndex:
        """The index, as the gallery is now; for reading what it is called and how good it is.

        Raises:
            InputError: an empty gallery, or a kind that is unknown or needs more tracklets.
        """
        with self._lock:
            return self._follow(gallery)

    def search(
        self,
        gallery: GalleryStore,
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
                asked = max(1, min(max(asked, index.candidates * k), len(index)))
                proposed, candidates = index.search(queries, asked, wanted)
                decided = asked >= len(index) or not index.exact
            scores = _scores(gallery, queries, candidates)
            order = np.lexsort((candidates, -scores), axis=1)
            best = np.take_along_axis(scores, order, 1)
            if decided or _sure(proposed, scores, best, k):
                kept = np.where(np.isneginf(scores), -1, candidates)
                return _padded(best, np.take_along_axis(kept, order, 1), k)
            asked *= 4  # many are equal, or were deleted meanwhile

    # Following the gallery

    def _follow(self, gallery: GalleryStore) -> VectorIndex:
        """The index up to date: as it is, with what is new, without what is gone, or made anew."""
        index, known = self._index, self._state
        if index is not None and known is not None and known.generation == _generation(gallery):
            return index
        # Whatever happens from here, a half-changed one is never used.
        self._index = self._state = None
        state, dim = gallery.state(), gallery.dim
        if dim is None or not state.tracklets:
            raise nobody_yet(gallery)
        if index is None:
            index = self._make(dim, self.kind)
            known = index_cache.load(gallery, index)
            self._unsaved = 0
        held = len(index)
        usable = known is not None and _removed(gallery, index, known, state)
        left = len(index)
        if not (usable and _added(gallery, index) and len(index) >= state.tracklets):
            index.fill(gallery.pages, state.tracklets)
            self._unsaved = len(index)
        else:
            self._unsaved += held - left + len(index) - left
        if known is not None and known.deletions != state.deletions and not index.exact:
            # Deletions have emptied the cache. An exact index is soon made anew, so that it is not
            # written again, a gigabyte perhaps, for everybody who is forgotten.
            self._unsaved = len(index)
        self._index, self._state = index, state
        if self._unsaved > _WORTH_SAVING * len(index):
            index_cache.save(gallery, index, state)
            self._unsaved = 0
        return index


def nobody_yet(gallery: GalleryStore) -> InputError:
    """What to say of a gallery in which nothing can be searched."""
    return InputError(
        f"{gallery.folder} holds nobody yet: index a video into it first "
        f"(reid-dhm index-video --gallery {gallery.folder})"
    )


def _generation(gallery: GalleryStore) -> int:
    """Of :meth:`GalleryStore.state`, without counting a million tracklets before every search."""
    with gallery.reading() as db:
        return int(db.execute("SELECT generation FROM gallery").fetchone()[0])


def _removed(gallery: GalleryStore, index: VectorIndex, known: State, state: State) -> bool:
    """Take out of an index what was deleted since; False if it has to be made anew."""
    if known.deletions == state.deletions:
        return True
    return index.remove(np.setdiff1d(index.keys(), gallery.keys(), assume_unique=True))


def _added(gallery: GalleryStore, index: VectorIndex) -> bool:
    """Add to an index what is new; False if it has to be made anew."""
    keys = index.keys()
    return all(index.add(page) for page in gallery.pages(after=int(keys[-1]) if len(keys) else 0))


# Scoring


def _scores(
    gallery: GalleryStore, queries: NDArray[np.float32], candidates: NDArray[np.int64]
) -> NDArray[np.float64]:
    """(Q, C) float64 inner products with the float16 vectors that the gallery holds.

    -inf for -1, and for what is gone.
    """
    keys, embeddings = _embeddings(gallery, np.unique(candidates[candidates >= 0]))
    scores = np.full(candidates.shape, -np.inf)
    if len(keys):
        places = np.minimum(np.searchsorted(keys, candidates), len(keys) - 1)
        query, place = np.nonzero(keys[places] == candidates)
        left = queries[query].astype(np.float64)
        right = embeddings[places[query, place]].astype(np.float64)
        scores[query, place] = np.einsum("nd,nd->n", left, right)
    return scores


def _embeddings(
    gallery: GalleryStore, keys: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float16]]:
    """Keys that are still in the gallery, ascending, and their (n, D) embeddings."""
    with gallery.reading() as db:
        rows = db.execute(_MEANS, (json.dumps(keys.tolist()),)).fetchall()
    found = np.array([key for key, _ in rows], np.int64)
    means = np.frombuffer(b"".join([mean for _, mean in rows]), "<f2")
    return found, means.reshape(len(rows), -1) if rows else np.empty((0, 0), np.float16)


def _sure(
    proposed: NDArray[np.float32], scores: NDArray[np.float64], best: NDArray[np.float64], k: int
) -> bool:
    """Whether nothing that was not proposed can be among the k best.

    Nothing else scores above the last proposal by more than proposals err.
    """
    last = proposed[:, -1].astype(np.float64)  # -inf where everything wanted was proposed
    error = np.zeros(scores.shape)
    np.subtract(proposed, scores, where=np.isfinite(scores), out=error)
    margin = max(2 * np.abs(error).max(), _ROUNDING)
    return bool(((best[:, k - 1] > last + margin) | np.isneginf(last)).all())


def _padded(
    scores: NDArray[np.float64], keys: NDArray[np.int64], k: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    lacking = ((0, 0), (0, max(0, k - scores.shape[1])))
    return (
        np.pad(scores[:, :k], lacking, constant_values=-np.inf),
        np.pad(keys[:, :k], lacking, constant_values=-1),
    )
