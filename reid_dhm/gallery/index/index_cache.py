"""An index in the gallery's cache: read only if it is whole and of this gallery, written whole.

What is read back is never trusted blindly, and what cannot be written is no failure: an index can
always be made from the gallery.
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

from reid_dhm.gallery.index.vectors import VectorIndex
from reid_dhm.gallery.records import State
from reid_dhm.gallery.store.gallery import GalleryStore

_FORMAT = 1
_BLOCK = 2**22
_TRAILER = 4  # bytes of the checksum that ends the file
_LONGEST_WRITE = 3600.0  # seconds

_log = logging.getLogger(__name__)


def path_of(gallery: GalleryStore, kind: str) -> Path:
    """Where the index of a kind is kept."""
    readable = re.sub(r"[^A-Za-z0-9]+", "-", kind).strip("-")[:40]
    return gallery.cache / f"{readable}-{hashlib.sha256(kind.encode()).hexdigest()[:8]}.index"


def load(gallery: GalleryStore, index: VectorIndex) -> State | None:
    """Read an index back; returns what state of the gallery it holds, or None if it cannot serve.

    ``index`` is left in an unknown condition where None is returned: fill it.
    """
    path = path_of(gallery, index.kind)
    try:
        with path.open("rb") as file:
            if not _is_whole(file):
                _log.warning("%s is damaged: the index is made anew", path)
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
        # Whole, and yet unreadable: of another release of this program or of its libraries.
        _log.warning("%s cannot be read (%s): the index is made anew", path, error)
        return None


def save(gallery: GalleryStore, index: VectorIndex, state: State) -> bool:
    """Write an index, unless something was deleted since; returns whether it is there.

    Args:
        state: of the gallery when the index was brought up to date.
    """
    path = path_of(gallery, index.kind)
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")
    try:
        gallery.cache.mkdir(exist_ok=True)
        _sweep(gallery.cache)
        with partial.open("wb") as file:
            checked = _Checksummed(file)
            last = _last(gallery, int(index.keys()[-1]) if len(index) else 0)
            header = {"about": _about(gallery, index), "state": state._asdict(), "last": last}
            checked.write(json.dumps(header).encode() + b"\n")
            index.save(cast(BinaryIO, checked))
            file.write(checked.sum.to_bytes(_TRAILER, "little"))
        if gallery.state().deletions == state.deletions:
            partial.replace(path)
        # A deletion empties the cache before and after; whoever wrote in between takes it back.
        if gallery.state().deletions == state.deletions:
            return True
        path.unlink(missing_ok=True)
    except FileNotFoundError:  # a deletion has emptied the cache at this very moment
        pass
    except (OSError, RuntimeError) as error:
        _log.warning("the index cannot be kept in %s (%s)", gallery.cache, error)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
    return False


def _sweep(folder: Path) -> None:
    """Remove what killed processes left unfinished."""
    for partial in folder.glob("*.partial"):
        if time.time() - partial.stat().st_mtime > _LONGEST_WRITE:
            partial.unlink(missing_ok=True)


class _Checksummed:
    """A file being written, and the checksum of what was."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.sum = 0

    def write(self, data: bytes) -> int:
        self.sum = zlib.crc32(data, self.sum)
        return self._file.write(data)


def _is_whole(file: BinaryIO) -> bool:
    """Whether the checksum fits; the file stands at its beginning afterwards."""
    left = file.seek(0, os.SEEK_END) - _TRAILER
    file.seek(0)
    found = 0
    while left > 0 and (block := file.read(min(_BLOCK, left))):
        found, left = zlib.crc32(block, found), left - len(block)
    whole = left == 0 and file.read(_TRAILER) == found.to_bytes(_TRAILER, "little")
    file.seek(0)
    return whole


def _last(gallery: GalleryStore, key: int) -> list[int]:
    """A key and the checksum of its embedding, 0 if it is not there."""
    page = gallery.embeddings(after=key - 1, limit=1)
    found = len(page.keys) and page.keys[0] == key
    return [key, zlib.crc32(page.embeddings.tobytes()) if found else 0]


def _continues(gallery: GalleryStore, last: list[int], state: State) -> bool:
    """Whether the gallery is still the one that was indexed, and no older copy that went on alone.

    Keys are never given twice, but by a copy: its last tracklets are others, or not there.
    """
    now = _last(gallery, last[0])
    return now == last or (now[1] == 0 and gallery.state().deletions != state.deletions)


def _about(gallery: GalleryStore, index: VectorIndex) -> dict[str, object]:
    """What an index must agree in with the gallery to be read at all."""
    return {
        "format": _FORMAT,
        "index": index.name,
        "kind": index.kind,
        "model": gallery.fingerprint,
        "dim": gallery.dim,
    }
