"""The index of a shared gallery: Lance's, whose proposals are scored exactly as FAISS's are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reid_dhm.gallery.index.live_index import empty_gallery
from reid_dhm.gallery.records import TrackletFilter
from reid_dhm.gallery.shared.gallery import SharedGallery

_FEW = 50_000  # matching tracklets that are scanned
_SLACK = 16  # extra proposals, so that rounding rarely decides at the end of the list
_ROUNDING = 1e-3  # bound on the error of a scan's scores, computed from float16


@dataclass(frozen=True, slots=True)
class SharedIndexState:
    """What is to be said of the index of a shared gallery.

    Attributes:
        rows: number of tracklets.
        kind: of Lance; ``Flat`` where tracklets are scanned.
        exact: whether nobody is missed.
        recall: recall@10, measured when the index was trained; None where tracklets are scanned.
    """

    rows: int
    kind: str
    exact: bool
    recall: float | None

    def __len__(self) -> int:
        return self.rows


class SharedIndex:
    """Searches a shared gallery by its own index; threads may share it. It keeps nothing.

    Args:
        exact: scan all tracklets instead.
    """

    kind = "Flat"

    def __init__(self, exact: bool = False) -> None:
        self._exact = exact

    def opened(self, gallery: SharedGallery) -> SharedIndexState:
        """The index as it is now."""
        facts = None if self._exact else gallery.index_facts()
        rows = gallery.count()
        if facts is None:
            return SharedIndexState(rows, "Flat", True, None)
        return SharedIndexState(rows, facts.kind, False, facts.recall)

    def search(
        self,
        gallery: SharedGallery,
        queries: NDArray[np.float32],
        k: int,
        where: TrackletFilter | None = None,
        model: str | None = None,
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """As :meth:`.LiveIndex.search`; without an index the answer is exact."""
        if model is not None:
            gallery.check_model(model, queries.shape[1])
        similarities = np.full((len(queries), k), -np.inf)
        keys = np.full((len(queries), k), -1, np.int64)
        facts = None if self._exact else gallery.index_facts()
        if facts is not None and where is not None and gallery.count(where) <= _FEW:
            facts = None  # an index would meet too few of the tracklets that may be found
        for row, query in enumerate(queries):
            asked = max(k + _SLACK, k * facts.depth if facts else 0)
            while True:
                effort = facts.effort(asked) if facts else {"use_index": False}
                proposed, found, embeddings = gallery.nearest(query, asked, where, effort)
                exact = embeddings.astype(np.float64) @ query.astype(np.float64)
                order = np.lexsort((found, -exact))[:k]
                # Whoever is not proposed scores at most the last proposal's score.
                enough = len(found) < asked or facts is not None
                if enough or exact[order[-1]] > proposed[-1] + _ROUNDING:
                    break
                asked *= 4
            similarities[row, : len(order)] = exact[order]
            keys[row, : len(order)] = found[order]
        if not (keys >= 0).any() and not gallery.count():
            raise empty_gallery(gallery)
        return similarities, keys
