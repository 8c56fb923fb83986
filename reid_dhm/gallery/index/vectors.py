"""What a gallery asks of an index over its embeddings, whoever keeps the vectors.

An index knows tracklets by their keys, their cameras and their times, and nothing else. It is
derived from the gallery: :mod:`.live_index` keeps it up to date and scores what it
proposes anew. An engine on other machines takes the place of the embedded one
(:class:`.FaissIndex`) by implementing :class:`VectorIndex`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from reid_dhm.gallery.records import EmbeddingPage

Pages = Callable[[], Iterator[EmbeddingPage]]
"""Reads all embeddings, page after page in the order of their keys; may be called again."""


@dataclass(frozen=True, eq=False)
class Filter:
    """Which tracklets a search may find: those that satisfy every condition given.

    Attributes:
        cameras: seen by any of these, by id.
        after, before: overlapping this span, in seconds from each video's start.
        after_time, before_time: the same in seconds since 1970 UTC; tracklets without wall-clock
            time never match.
        only: (n,) int64, with any of these keys.
        without: (n,) int64, with none of these keys.
    """

    cameras: Sequence[int] | None = None
    after: float | None = None
    before: float | None = None
    after_time: float | None = None
    before_time: float | None = None
    only: NDArray[np.int64] | None = None
    without: NDArray[np.int64] | None = None


class VectorIndex(Protocol):
    """Unit vectors by key, searched by inner product.

    Attributes:
        kind: what was asked for, such as ``Flat``.
        name: what serves, for people to read.
        device: where it runs.
        exact: whether no neighbour is ever missed but by rounding.
        recall: share of the ten nearest that were among the proposals of a sample of searches,
            measured when the index was filled; None if exact or never measured.
        candidates: proposals to score anew for every neighbour wanted, 1 or more.
    """

    kind: str
    name: str
    device: str
    exact: bool
    recall: float | None
    candidates: int

    def __len__(self) -> int:
        """How many vectors there are."""
        ...

    def keys(self) -> NDArray[np.int64]:
        """(N,) keys, ascending."""
        ...

    def fill(self, pages: Pages, count: int) -> None:
        """Hold these vectors and no others, training first where that is needed.

        Args:
            pages: reads them; called as often as needed.
            count: about how many there are.

        Raises:
            InputError: too few to train on.
        """
        ...

    def add(self, page: EmbeddingPage) -> bool:
        """Add vectors whose keys lie above all that are there.

        Returns:
            False if the index has outgrown what it was trained on and should be filled anew.
        """
        ...

    def remove(self, keys: NDArray[np.int64]) -> bool:
        """Remove the vectors of these keys, keys that are not there among them.

        Returns:
            False if this index cannot, and has to be filled anew.
        """
        ...

    def search(
        self, queries: NDArray[np.float32], k: int, wanted: Filter | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The k nearest vectors among those wanted, best first.

        Args:
            queries: (Q, D) float32 unit rows.
            k: how many, 1 or more.
            wanted: which may be found; all by default.

        Returns:
            scores: (Q, k) float32 inner products, as near as the index can tell; -inf where fewer
                than k were found.
            keys: (Q, k) int64, -1 where fewer were found.
        """
        ...

    def save(self, file: BinaryIO) -> None:
        """Write all that :meth:`load` needs."""
        ...

    def load(self, file: BinaryIO) -> None:
        """Become what was saved, by an index of the same kind and dimension."""
        ...


MakeIndex = Callable[[int, str], VectorIndex]
"""Makes an empty index from the dimension and the kind; raises InputError for an unknown kind."""
