"""A gallery in a folder and its copy on shared storage."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest

from reid_dhm.gallery.opening import as_shared, copy_gallery, open_gallery
from reid_dhm.gallery.store import audit, statements
from reid_dhm.gallery.store.gallery import GalleryStore

pytest.importorskip("lance", reason="Lance is not installed: pip install reid-dhm[cluster]")

START = datetime(2026, 3, 1, 8, tzinfo=timezone.utc)


@pytest.fixture
def folder(tmp_path, keep) -> Iterator[GalleryStore]:
    """Three videos of two cameras, 60 tracklets, with somebody who has a name."""
    rng = np.random.default_rng(7)
    with GalleryStore(tmp_path / "folder", create=True) as gallery:
        keep(gallery, rng.normal(size=(20, 32)), "gate", start_time=START)
        keep(gallery, rng.normal(size=(20, 32)), "it's a yard", start_time=START.replace(hour=9))
        keep(gallery, rng.normal(size=(20, 32)), "gate")
        some = [found.id for found in gallery.tracklets(limit=30)[::10]]
        statements.label(gallery, some, "O'Anna \\ 7")
        statements.link(gallery, [found.id for found in gallery.tracklets(limit=30)[1::14]])
        others = [found.id for found in gallery.tracklets(limit=60)[-4:]]
        pair = statements.people(gallery)[1]
        statements.link(gallery, others)
        person = gallery.tracklet(others[0]).person_id
        split = next(p for p in statements.people(gallery) if p.id == person)
        statements.split(gallery, split, others[:1])
        assert pair.num_tracklets
        audit.record(gallery, "search", {"hits": 3}, "somebody")
        yield gallery


@pytest.fixture
def shared(folder, tmp_path) -> Iterator:
    """A copy of the folder."""
    with open_gallery(Path(f"lance:{tmp_path}/shared"), create=True) as gallery:
        copy_gallery(folder, gallery)
        yield as_shared(gallery)
