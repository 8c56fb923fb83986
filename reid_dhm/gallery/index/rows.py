"""The columns that an index keeps beside its vectors, by which searches are filtered."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reid_dhm.gallery.records import EmbeddingPage, TrackletFilter


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

    def mask(
        self,
        where: TrackletFilter,
        cameras: Mapping[str, int],
        only: NDArray[np.int64] | None = None,
        without: NDArray[np.int64] | None = None,
    ) -> NDArray[np.bool_]:
        """(N,) bool, whether a row satisfies the cameras and times of a filter.

        Args:
            where: its tracklets, videos and person are given as keys.
            cameras: id of every camera in ``where``, by name.
            only: (n,) keys outside which no row passes.
            without: (n,) keys that do not pass.
        """
        mask = np.ones(len(self.keys), bool)
        if only is not None:
            mask[:] = False
            mask[self.places(only)] = True
        if without is not None:
            mask[self.places(without)] = False
        if where.cameras:
            ids = [cameras[name] for name in where.cameras]
            table = np.zeros(1 + max(self.cameras.max(initial=0), *ids), bool)
            table[ids] = True
            mask &= table[self.cameras]  # ids are small: twenty times as fast as np.isin
        # Without wall-clock time a column is NaN, which no comparison holds for.
        if isinstance(where.after, datetime):
            mask &= self.end_times >= where.after.timestamp()
        elif where.after is not None:
            mask &= self.ends >= where.after
        if isinstance(where.before, datetime):
            mask &= self.start_times <= where.before.timestamp()
        elif where.before is not None:
            mask &= self.starts <= where.before
        return mask

    def save(self, file: BinaryIO) -> None:
        """Write the columns."""
        for column in self:
            np.lib.format.write_array(file, column, allow_pickle=False)

    @classmethod
    def load(cls, file: BinaryIO) -> IndexRows:
        """Read what :meth:`save` wrote."""
        return cls(*(np.lib.format.read_array(file, allow_pickle=False) for _ in cls._fields))
