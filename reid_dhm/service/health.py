"""Whether a service's gallery can be read: for monitors, who may ask often."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from reid_dhm.errors import LockedError, NotFoundError, ReidError, StorageError
from reid_dhm.gallery.opening import open_gallery
from reid_dhm.gallery.store.gallery import GalleryStore

_SECONDS = 30.0  # between two checks of the whole file, at least
_SHARE = 0.05  # of the time that such checks may take
_SMALL = 2**25  # bytes that are checked while the monitor waits


class Health:
    """Checks a gallery: its file and model each time, the whole file now and then.

    Args:
        folder: the gallery.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._checking = threading.Lock()
        self._due = 0.0
        self._fault: ReidError | None = None

    def check(self) -> None:
        """Return if the gallery can be read.

        Raises:
            StorageError: the gallery is missing, damaged or unreadable.
        """
        try:
            with open_gallery(self._folder) as gallery:
                _ = gallery.fingerprint
                if not isinstance(gallery, GalleryStore):
                    return
                size = gallery.path.stat().st_size
        except LockedError:
            return  # somebody is writing, so it is there
        except (NotFoundError, OSError) as error:
            raise StorageError(f"{self._folder} is missing: restore the gallery") from error
        if time.monotonic() >= self._due and self._checking.acquire(blocking=False):
            if size <= _SMALL:
                self._check_file()
            else:
                threading.Thread(target=self._check_file, name="health", daemon=True).start()
        if self._fault is not None:
            raise self._fault

    def suspect(self) -> None:
        """Check the whole file the next time, because something could not be read."""
        if self._fault is None:  # a known fault is checked again when it is due
            self._due = 0.0

    def _check_file(self) -> None:
        begun = time.monotonic()
        fault: ReidError | None = None
        try:
            with GalleryStore(self._folder) as gallery, gallery.reading() as db:
                (found,) = db.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                fault = StorageError(f"{self._folder} is damaged: restore it from a copy")
        except LockedError:
            fault = self._fault
        except ReidError as error:
            fault = error
        finally:
            self._fault = fault
            now = time.monotonic()
            self._due = now + max(_SECONDS, (now - begun) / _SHARE)
            self._checking.release()
