"""Files of a search: whole, or not there."""

import errno
from pathlib import Path

import numpy as np
import pytest

from reid_dhm.errors import StorageError
from reid_dhm.gallery.search.output import write_crops
from reid_dhm.gallery.search.searcher import Searcher


def test_a_full_disk_leaves_no_half_crop(empty, keep_film, tmp_path, monkeypatch):
    keep_film(empty)
    found = Searcher(empty).search(np.array([[0.9, -0.3, -0.3]]), 2)
    folder = tmp_path / "crops"
    write_bytes, written = Path.write_bytes, []

    def full(path: Path, data: bytes) -> int:
        if written:
            write_bytes(path, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(path)
        return write_bytes(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StorageError, match="No space left on device"):
        write_crops(empty, found, folder)
    (kept,) = folder.iterdir()
    assert kept.name.startswith("001_")
    assert kept.read_bytes() == empty.thumbnail(found[0].tracklet.key)
