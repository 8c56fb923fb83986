"""What an index remembers of its vectors: key, camera and times, and who passes a filter."""

from __future__ import annotations

from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reid_dhm.gallery.index.vectors import Filter
from reid_dhm.gallery.records import EmbeddingPage


class IndexRows(NamedTuple):
    """Columns of one length, in the order of keys; as in
    :class:`~reid_dhm.gallery.records.EmbeddingPage`.
    """

    keys: NDArray[np.int64]
    cameras: NDArray[np.int64]
    starts: NDArray[np.float64]
    ends: NDArray[np.float64]
    start_times: NDArray[np.float64]
    end_times: NDArray[np.float64]

    @classmethod
    def none(cls) -> IndexRows:
        """No rows."""
        return cls(np.empty(0, np.int64), np.empty(0, np.int64), *(np.empty(0) for _ in range(4)))

    @classmethod
    def of(cls, page: EmbeddingPage) -> IndexRows:
        """The rows of a page."""
        return cls(page.keys, *page[2:])

    def joined(self, others: IndexRows) -> IndexRows:
        """These and then others.

        Raises:
            ValueError: the others' keys are not all above these, ascending.
        """
        keys = np.concatenate([self.keys[-1:], others.keys])
        if (np.diff(keys) <= 0).any():
            raise ValueError("keys are added in ascending order, above those that are there")
        pairs = zip(self, others, strict=True)
        return IndexRows(*(np.concatenate(pair) for pair in pairs))

    def taken(self, which: Any) -> IndexRows:
        """The rows of a mask, a slice or row numbers."""
        return IndexRows(*(column[which] for column in self))

    def places(self, keys: NDArray[np.int64]) -> NDArray[np.int64]:
        """Row numbers of those of the keys that are here."""
        keys = np.asarray(keys, np.int64)
        places = np.searchsorted(self.keys, keys)
        inside = places < len(self.keys)
        places, keys = places[inside], keys[inside]
        return places[self.keys[places] == keys]

    def wanted(self, wanted: Filter) -> NDArray[np.bool_]:
        """(N,) whether a row satisfies every condition."""
        mask = np.ones(len(self.keys), bool)
        if wanted.only is not None:
            mask[:] = False
            mask[self.places(wanted.only)] = True
        if wanted.without is not None:
            mask[self.places(wanted.without)] = False
        if wanted.cameras is not None:
            table = np.zeros(1 + max(self.cameras.max(initial=0), *wanted.cameras), bool)
            table[list(wanted.cameras)] = True
            mask &= table[self.cameras]  # ids are small: twenty times as fast as np.isin
        for bound, column in ((wanted.after, self.ends), (wanted.after_time, self.end_times)):
            if bound is not None:
                mask &= column >= bound
        for bound, column in ((wanted.before, self.starts), (wanted.before_time, self.start_times)):
            if bound is not None:
                mask &= column <= bound  # no wall-clock time is NaN, which never is
        return mask

    def save(self, file: BinaryIO) -> None:
        """Write the columns."""
        for column in self:
            np.lib.format.write_array(file, column, allow_pickle=False)

    @classmethod
    def load(cls, file: BinaryIO) -> IndexRows:
        """Read what :meth:`save` wrote."""
        return cls(*(np.lib.format.read_array(file, allow_pickle=False) for _ in cls._fields))
