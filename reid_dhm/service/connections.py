"""A pool of connections to a gallery: each thread needs one of its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reid_dhm.errors import LockedError, NotFoundError, StorageError
from reid_dhm.gallery.opening import open_gallery
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.store.reader import GalleryReader

LOCK_SECONDS = 0.8
"""How long a statement waits for another process's transaction."""


class Connections:
    """Open connections to one gallery, each lent to one thread at a time.

    Args:
        folder: the gallery.

    Raises:
        NotFoundError: there is none.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._opened = False
        self._idle = deque([self._open()])  # append and pop are atomic

    @contextmanager
    def lend(self) -> Iterator[GalleryReader]:
        """A connection, for as long as the context lasts."""
        try:
            gallery = self._idle.pop()
        except IndexError:
            gallery = self._open()
        failed = False
        try:
            yield gallery
        except (LockedError, StorageError):
            failed = True
            raise
        finally:
            if failed:  # a new one may succeed
                gallery.close()
            else:
                self._idle.append(gallery)

    def close(self) -> None:
        """Close the connections that are not lent."""
        while self._idle:
            self._idle.pop().close()

    def _open(self) -> GalleryReader:
        try:
            gallery = open_gallery(self.folder)
        except NotFoundError as error:
            if not self._opened:
                raise
            raise StorageError(f"{self.folder} is missing: restore the gallery") from error
        self._opened = True
        if isinstance(gallery, GalleryStore):
            with gallery.reading() as db:
                db.execute(f"PRAGMA busy_timeout = {round(1000 * LOCK_SECONDS)}")
        return gallery
