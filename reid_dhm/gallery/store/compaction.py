"""Compacting the file of a gallery."""

from __future__ import annotations

import os

from reid_dhm.errors import LockedError, StorageError
from reid_dhm.gallery.store.filters import as_utf8
from reid_dhm.gallery.store.gallery import GalleryStore


def compact(gallery: GalleryStore) -> None:
    """Rewrite the file without its free pages, and empty the write-ahead log.

    Raises:
        LockedError: another process is reading.
        StorageError: the folder cannot be written, or the disk cannot hold a copy.
    """
    if not os.access(gallery.folder, os.W_OK):
        raise StorageError(f"{gallery.folder} cannot be written: allow writing to it")
    with gallery.reading() as db:
        # The copy, as large as the gallery, is a file beside it instead of in memory or elsewhere.
        folder = str(gallery.folder.resolve())
        if folder == as_utf8(folder):
            quoted = folder.replace("'", "''")
            db.execute(f"PRAGMA temp_store_directory = '{quoted}'")
        db.execute("PRAGMA temp_store = FILE")
        try:
            db.execute("VACUUM")
        finally:
            db.execute("PRAGMA temp_store = MEMORY")
            db.execute("PRAGMA temp_store_directory = ''")
    if not gallery.empty_log():
        raise LockedError(
            f"{gallery.path} is being read by another process: try again when that is done"
        )
