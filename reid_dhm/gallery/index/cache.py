"""An index saved in the gallery's cache, read only if it is complete and of this gallery.

A cached index that cannot be read or written is not a failure: it can be rebuilt from the gallery.
A gallery that cannot be read is one, and is raised.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import time
import uuid
import zlib
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, cast

from reid_dhm.gallery.index.faiss_index import FaissIndex
from reid_dhm.gallery.records import State
from reid_dhm.gallery.store.gallery import GalleryStore

_FORMAT = 1
_BLOCK = 2**22
_TRAILER = 4  # bytes of the checksum that ends the file
_LONGEST_WRITE = 3600.0  # seconds

_log = logging.getLogger(__name__)


def path_of(gallery: GalleryStore, kind: str) -> Path:
    """The file of a kind of index."""
    readable = re.sub(r"[^A-Za-z0-9]+", "-", kind).strip("-")[:40]
    return gallery.cache / f"{readable}-{hashlib.sha256(kind.encode()).hexdigest()[:8]}.index"


def load(gallery: GalleryStore, index: FaissIndex) -> State | None:
    """Read an index back.

    Returns:
        The state of the gallery that it holds; None if it is missing, damaged or of another
        gallery. Then ``index`` is in an undefined state: fill it.

    Raises:
        LockedError, StorageError: the gallery cannot be read.
    """
    path = path_of(gallery, index.kind)
    if gallery.cache.is_symlink():
        return None
    try:
        with path.open("rb") as file:
            if not _is_whole(file):
                _log.warning("%s is damaged: the index is rebuilt", path)
                return None
            header = json.loads(file.readline())
            state = State(**header["state"])
            if header["about"] != _about(gallery, index):
                return None
            if not _continues(gallery, header["last"], state):
                return None
            index.load(file)
            return state
    except FileNotFoundError:
        return None
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        # Complete and yet unreadable: written by another release, or of another FAISS.
        _log.warning("%s cannot be read (%s): the index is rebuilt", path, error)
        return None


def save(gallery: GalleryStore, index: FaissIndex, state: State) -> bool:
    """Write an index, unless tracklets were deleted since; returns whether it is saved.

    Args:
        state: of the gallery when the index was last updated.

    Raises:
        LockedError, StorageError: the gallery cannot be read.
    """
    path = path_of(gallery, index.kind)
    if gallery.cache.is_symlink():  # what it links to is not the gallery's to write or delete
        _log.warning("the index is not saved: %s is a link, remove it", gallery.cache)
        return False
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")
    try:
        gallery.cache.mkdir(exist_ok=True)
        _sweep(gallery.cache)
        with partial.open("wb") as file:
            checked = _Checksummed(file)
            last = _last(gallery, int(index.rows.keys[-1]) if len(index) else 0)
            header = {"about": _about(gallery, index), "state": state._asdict(), "last": last}
            checked.write(json.dumps(header).encode() + b"\n")
            index.save(cast(BinaryIO, checked))
            file.write(checked.sum.to_bytes(_TRAILER, "little"))
        if gallery.state().deletions == state.deletions:
            partial.replace(path)
        # A deletion empties the cache before and after; a file written in between is removed here.
        if gallery.state().deletions == state.deletions:
            return True
        path.unlink(missing_ok=True)
    except FileNotFoundError:  # a deletion emptied the cache at this moment
        pass
    except (OSError, RuntimeError) as error:
        _log.warning("the index cannot be saved in %s (%s)", gallery.cache, error)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
    return False


def _sweep(folder: Path) -> None:
    """Remove partial files of killed processes."""
    for partial in folder.glob("*.partial"):
        if time.time() - partial.stat().st_mtime > _LONGEST_WRITE:
            partial.unlink(missing_ok=True)


class _Checksummed:
    """A file being written, with a running checksum."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.sum = 0

    def write(self, data: bytes) -> int:
        self.sum = zlib.crc32(data, self.sum)
        return self._file.write(data)


def _is_whole(file: BinaryIO) -> bool:
    """Whether the checksum matches; rewinds the file."""
    left = file.seek(0, os.SEEK_END) - _TRAILER
    file.seek(0)
    found = 0
    while left > 0 and (block := file.read(min(_BLOCK, left))):
        found, left = zlib.crc32(block, found), left - len(block)
    whole = left == 0 and file.read(_TRAILER) == found.to_bytes(_TRAILER, "little")
    file.seek(0)
    return whole


def _last(gallery: GalleryStore, key: int) -> list[int]:
    """A key and the checksum of its embedding, 0 if the key does not exist."""
    page = gallery.embeddings(after=key - 1, limit=1)
    found = len(page.keys) and page.keys[0] == key
    return [key, zlib.crc32(page.embeddings.tobytes()) if found else 0]


def _continues(gallery: GalleryStore, last: list[int], state: State) -> bool:
    """Whether the gallery is the one that was indexed, not an older copy that diverged.

    Keys are never reused, except by a copy: its last tracklets are different or missing.
    """
    now = _last(gallery, last[0])
    return now == last or (now[1] == 0 and gallery.state().deletions != state.deletions)


def _about(gallery: GalleryStore, index: FaissIndex) -> dict[str, object]:
    """Facts that must agree for a saved index to be used."""
    return {
        "format": _FORMAT,
        "index": index.name,
        "kind": index.kind,
        "model": gallery.fingerprint,
        "dim": gallery.dim,
    }
