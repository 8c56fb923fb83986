"""A gallery and its indexes that version 0.1 wrote, of two rendered people."""

import json
import shutil
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from reid_dhm.gallery.index import live_index
from reid_dhm.gallery.index.live_index import LiveIndex
from reid_dhm.gallery.records import TrackletFilter, wall_clock
from reid_dhm.gallery.store import audit
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.store.integrity import check_integrity
from reid_dhm.gallery.store.schema import STEPS
from reid_dhm.gallery.track.crops import decode_jpeg

FOLDER = Path(__file__).parents[2] / "data" / "gallery_of_version_0_1"
EXPECTED = json.loads((FOLDER / "expected.json").read_text())


@pytest.fixture
def gallery(tmp_path):
    """A copy, for the test to change."""
    shutil.copytree(FOLDER, tmp_path / "gallery")
    with GalleryStore(tmp_path / "gallery") as gallery:
        yield gallery


def test_it_is_listed_as_it_was(gallery):
    tracklets = gallery.tracklets()
    assert [str(found.id) for found in tracklets] == EXPECTED["tracklets"]
    assert [found.person for found in tracklets] == EXPECTED["persons"]
    whole, unfinished = gallery.videos()
    assert whole.start_time == wall_clock("2026-03-01T08:00:00+01:00")
    assert whole.start_time.utcoffset() == timedelta(hours=1)
    assert (whole.camera, whole.complete) == ("gate", True)
    assert (unfinished.camera, unfinished.complete, unfinished.position) == ("door", False, 48)
    assert [entry.actor for entry in audit.entries(gallery)] == ["anna"]
    assert gallery.count(TrackletFilter(person="Anna Müller")) == 1
    assert all(decode_jpeg(crop.jpeg).ndim == 3 for crop in gallery.crops(tracklets[0].key))


def test_it_is_intact(gallery):
    assert list(check_integrity(gallery)) == []


@pytest.mark.parametrize("kind", ["Flat", "IVF1,SQfp16"])
def test_its_indexes_are_used_and_find_what_they_found(gallery, kind, monkeypatch):
    class NeverFilled(live_index.FaissIndex):
        def fill(self, pages, count):
            raise AssertionError("the index was rebuilt")

    monkeypatch.setattr(live_index, "FaissIndex", NeverFilled)
    query = np.array([EXPECTED["query"]], np.float32)
    similarities, keys = LiveIndex(kind).search(gallery, query, 2)
    assert keys[0].tolist() == EXPECTED["keys"]
    assert similarities[0] == pytest.approx(EXPECTED["similarities"], abs=1e-12)


def test_a_new_gallery_has_its_tables_and_indexes(gallery, tmp_path):
    def schema(opened: GalleryStore) -> list[tuple[str, str]]:
        sql = "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name"
        with opened.reading() as db:
            return [(name, " ".join(text.split())) for name, text in db.execute(sql).fetchall()]

    with GalleryStore(tmp_path / "new", create=True) as new:
        assert schema(new) == schema(gallery)
        with new.reading() as db:
            assert db.execute("PRAGMA user_version").fetchone() == (len(STEPS),)
