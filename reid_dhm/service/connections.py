"""Connections to a gallery for many threads: SQLite wants one each."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reid_dhm.errors import LockedError, StorageError
from reid_dhm.gallery.store.gallery import GalleryStore


class Connections:
    """Open connections to one gallery, each lent to one thread at a time.

    There are never more than threads that ask at once.

    Args:
        folder: the gallery.

    Raises:
        NotFoundError: there is none.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._idle = deque([GalleryStore(folder)])  # append and pop are atomic

    @contextmanager
    def lend(self) -> Iterator[GalleryStore]:
        """A connection, for as long as the context lasts."""
        try:
            gallery = self._idle.pop()
        except IndexError:
            gallery = GalleryStore(self.folder)
        failed = False
        try:
            yield gallery
        except (LockedError, StorageError):
            failed = True
            raise
        finally:
            if failed:  # a fresh one may fare better
                gallery.close()
            else:
                self._idle.append(gallery)

    def close(self) -> None:
        """Close what is not lent."""
        while self._idle:
            self._idle.pop().close()
