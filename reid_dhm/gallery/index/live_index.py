"""An index that follows its gallery; its proposals are rescored with the gallery's embeddings.

The index is derived data: saved in ``GalleryStore.cache``, rebuilt whenever it cannot be trusted.
"""

from __future__ import annotations

import json
import threading

import numpy as np
from numpy.typing import NDArray

from reid_dhm.errors import InputError
from reid_dhm.gallery.index import cache
from reid_dhm.gallery.index.faiss_index import FaissIndex
from reid_dhm.gallery.index.rows import IndexRows
from reid_dhm.gallery.records import State, TrackletFilter
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.store.queries import vectors
from reid_dhm.gallery.store.reader import GalleryReader
from reid_dhm.text import shell_word

_MEANS = """SELECT tracklet, mean FROM embeddings
    WHERE tracklet IN (SELECT value FROM json_each(?)) ORDER BY tracklet"""
_SLACK = 16  # extra proposals, so that rounding rarely decides at the end of the list
_WORTH_SAVING = 0.05  # share of the index that must have changed since it was saved
_ROUNDING = 1e-5  # bound on the error of a float32 inner product of unit vectors


class LiveIndex:
    """The index of one gallery; threads may share it, each with its own connection.

    Args:
        kind: ``Flat``, which is exact, or a FAISS factory string.
    """

    def __init__(self, kind: str = "Flat") -> None:
        self.kind = kind
        self._lock = threading.RLock()
        self._index: FaissIndex | None = None
        self._state: State | None = None
        self._model: str | None = None  # fingerprint of the model whose vectors it holds
        self._unsaved = 0  # vectors added or removed since it was saved

    def opened(self, gallery: GalleryStore) -> FaissIndex:
        """The index, up to date; for reading its attributes.

        Raises:
            InputError: an empty gallery, or a kind that is unknown or needs more tracklets.
        """
        with gallery.snapshot(), self._lock:
            index = self._follow(gallery)
        self._save(gallery)
        return index

    def search(
        self,
        gallery: GalleryStore,
        queries: NDArray[np.float32],
        k: int,
        where: TrackletFilter | None = None,
        model: str | None = None,
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """The k most similar tracklets of each query, by exact cosine similarity.

        Index and store are of one moment, so that old and new embeddings never meet.

        Args:
            gallery: the calling thread's own connection, always to the same gallery.
            queries: (Q, D) float32 unit rows.
            k: tracklets per query, 1 or more.
            where: which tracklets may be found.
            model: fingerprint of the model that made the queries; None if it cannot have changed.

        Returns:
            similarities: (Q, n) float64, best first, equal ones by key; n is k, or all that could
                be found; -inf where there are fewer.
            keys: (Q, n) int64, -1 where there are fewer.

        Raises:
            InputError: as :meth:`opened`, or an unknown camera or video in ``where``.
            ModelMismatchError: the gallery holds embeddings of another model.
        """
        with gallery.snapshot():
            if model is not None:
                gallery.check_model(model, queries.shape[1])
            found = self._search(gallery, queries, k, where)
        self._save(gallery)
        return found

    def _search(
        self,
        gallery: GalleryStore,
        queries: NDArray[np.float32],
        k: int,
        where: TrackletFilter | None,
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        asked = k + _SLACK
        while True:
            with self._lock:
                index = self._follow(gallery)
                asked = max(1, min(max(asked, index.candidates * k), len(index)))
                mask = None if where is None else _mask(gallery, index.rows, where)
                proposed, candidates = index.search(queries, asked, mask)
                decided = asked >= len(index) or not index.exact
            scores = _scores(gallery, queries, candidates)
            order = np.lexsort((candidates, -scores), axis=1)
            best = np.take_along_axis(scores, order, 1)
            if decided or _sure(proposed, scores, best, k):
                kept = np.where(np.isneginf(scores), -1, candidates)
                return best[:, :k], np.take_along_axis(kept, order, 1)[:, :k]
            asked *= 4  # many are equal, or were deleted meanwhile

    # Following the gallery

    def _follow(self, gallery: GalleryStore) -> FaissIndex:
        """The index, with new tracklets added and deleted ones removed, or rebuilt.

        Within a snapshot of the gallery, and with the lock held.
        """
        index, known = self._index, self._state
        if index is not None and known is not None and known.generation == gallery.generation():
            return index
        # If anything below fails, a half-changed index is never used.
        self._index = self._state = None
        state, dim, model = gallery.state(), gallery.dim, gallery.fingerprint
        if dim is None or not state.tracklets:
            raise empty_gallery(gallery)
        if model != self._model:
            index, self._model = None, model
        if index is None:
            index = FaissIndex(dim, self.kind)
            known = cache.load(gallery, index)
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
            # Deletions have emptied the cache. An exact index is quick to rebuild, so it is not
            # written again after each deletion; it can be a gigabyte.
            self._unsaved = len(index)
        self._index, self._state = index, state
        return index

    def _save(self, gallery: GalleryStore) -> None:
        """Save the index if that is worth it; outside a snapshot, which would hide deletions."""
        with self._lock:
            index, state = self._index, self._state
            if index is None or state is None or self._unsaved <= _WORTH_SAVING * len(index):
                return
            cache.save(gallery, index, state)
            self._unsaved = 0


def empty_gallery(gallery: GalleryReader) -> InputError:
    """The error for a search in a gallery without tracklets."""
    return InputError(
        f"{gallery.folder} holds no tracklets yet: index a video into it first "
        f"(reid-dhm index-video --gallery {shell_word(gallery.folder)} --camera NAME SOURCE)"
    )


def _removed(gallery: GalleryStore, index: FaissIndex, known: State, state: State) -> bool:
    """Remove deleted tracklets from an index; False if it has to be rebuilt."""
    if known.deletions == state.deletions:
        return True
    return index.remove(np.setdiff1d(index.rows.keys, gallery.keys(), assume_unique=True))


def _added(gallery: GalleryStore, index: FaissIndex) -> bool:
    """Add new tracklets to an index; False if it has to be rebuilt."""
    keys = index.rows.keys
    return all(index.add(page) for page in gallery.pages(after=int(keys[-1]) if len(keys) else 0))


def _mask(gallery: GalleryStore, rows: IndexRows, where: TrackletFilter) -> NDArray[np.bool_]:
    """(N,) bool, which rows of the index a filter lets through."""
    narrow = TrackletFilter(tracklets=where.tracklets, videos=where.videos, person=where.person)
    return rows.mask(
        where,
        {name: gallery.camera(name).id for name in where.cameras},
        gallery.keys(narrow) if narrow else None,
        gallery.keys(TrackletFilter(tracklets=where.exclude)) if where.exclude else None,
    )


# Scoring


def _scores(
    gallery: GalleryStore, queries: NDArray[np.float32], candidates: NDArray[np.int64]
) -> NDArray[np.float64]:
    """(Q, C) float64 inner products with the gallery's float16 embeddings.

    -inf for key -1 and for deleted tracklets.
    """
    keys, embeddings = _embeddings(
        gallery, np.unique(candidates[candidates >= 0]), queries.shape[1]
    )
    scores = np.full(candidates.shape, -np.inf)
    if len(keys):
        places = np.minimum(np.searchsorted(keys, candidates), len(keys) - 1)
        query, place = np.nonzero(keys[places] == candidates)
        left = queries[query].astype(np.float64)
        right = embeddings[places[query, place]].astype(np.float64)
        scores[query, place] = np.einsum("nd,nd->n", left, right)
    return scores


def _embeddings(
    gallery: GalleryStore, keys: NDArray[np.int64], dim: int
) -> tuple[NDArray[np.int64], NDArray[np.float16]]:
    """Those of the keys that are in the gallery, ascending, and their (n, D) embeddings."""
    with gallery.reading() as db:
        rows = db.execute(_MEANS, (json.dumps(keys.tolist()),)).fetchall()
        embeddings = vectors([mean for _, mean in rows], dim)
    return np.array([key for key, _ in rows], np.int64), embeddings


def _sure(
    proposed: NDArray[np.float32], scores: NDArray[np.float64], best: NDArray[np.float64], k: int
) -> bool:
    """Whether no tracklet outside the proposals can be among the k best.

    Others score at most the last proposal's score plus the error of the index's scores.
    """
    last = proposed[:, -1].astype(np.float64)  # -inf where everything was proposed
    error = np.zeros(scores.shape)
    np.subtract(proposed, scores, where=np.isfinite(scores), out=error)
    margin = max(2 * np.abs(error).max(), _ROUNDING)
    return bool(((best[:, k - 1] > last + margin) | np.isneginf(last)).all())
