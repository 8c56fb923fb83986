"""The index that fits a gallery."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from reid_dhm.errors import UnsupportedError
from reid_dhm.gallery.index.live_index import LiveIndex
from reid_dhm.gallery.records import TrackletFilter
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.store.reader import GalleryReader


class IndexState(Protocol):
    """What is to be said of an index."""

    @property
    def kind(self) -> str:
        """``Flat``, which is exact, or another."""

    @property
    def exact(self) -> bool:
        """Whether nobody is missed."""

    @property
    def recall(self) -> float | None:
        """Recall@10; None if it is exact or was not measured."""

    def __len__(self) -> int: ...


class GalleryIndex(Protocol):
    """Finds the most similar tracklets of one gallery; threads may share it.

    ``gallery`` is that gallery, opened by the calling thread: each index knows the kind of its own.
    """

    @property
    def kind(self) -> str:
        """As the user asked for it."""

    def opened(self, gallery: Any) -> IndexState:
        """The index, up to date."""

    def search(
        self,
        gallery: Any,
        queries: NDArray[np.float32],
        k: int,
        where: TrackletFilter | None = None,
        model: str | None = None,
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """As :meth:`.LiveIndex.search`."""


def index_of(gallery: GalleryReader, kind: str, exact: bool = False) -> GalleryIndex:
    """The index of a gallery.

    Args:
        gallery: which.
        kind: ``Flat`` or a FAISS factory string.
        exact: miss nobody, also where a shared gallery has an approximate index.

    Raises:
        UnsupportedError: a FAISS index for a shared gallery, which has its own.
    """
    if isinstance(gallery, GalleryStore):
        return LiveIndex(kind)
    if kind != "Flat":
        raise UnsupportedError(
            f"{gallery.folder} is a shared gallery, which has its own index: leave out --index "
            f"{kind}"
        )
    from reid_dhm.gallery.index.shared_index import SharedIndex

    return SharedIndex(exact)
