"""Galleries from strangers, and values at the ends of their ranges."""

import shutil
import sqlite3
from datetime import datetime, timezone

import numpy as np
import pytest

from reid_dhm.errors import InputError, NotFoundError, StorageError
from reid_dhm.gallery.index.live_index import LiveIndex
from reid_dhm.gallery.records import NewVideo, TrackletFilter, TrackletId, from_epoch, wall_clock
from reid_dhm.gallery.store import audit, database, deletion, statements
from reid_dhm.gallery.store.filters import parse_time
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.store.integrity import check_integrity
from reid_dhm.gallery.store.writing import VideoWriter

BAD_NAMES = ["", " ", "anna ", "a\nb", "a\0b", "\x1b[31mred", "\udcff", "\u202etxt", "x" * 201]


@pytest.fixture
def site(empty, keep) -> GalleryStore:
    """Three tracklets before one camera."""
    keep(empty, np.random.default_rng(0).standard_normal((3, 8)))
    return empty


def query(gallery: GalleryStore) -> np.ndarray:
    return next(gallery.pages()).embeddings[:1].astype(np.float32)


class TestNames:
    @pytest.mark.parametrize("name", BAD_NAMES)
    def test_persons_and_cameras_obey_one_rule(self, site, name):
        with pytest.raises(InputError, match=r"person name .* is not allowed: give 1 to 200"):
            statements.label(site, [site.tracklets()[0].id], name)
        with pytest.raises(InputError, match=r"camera name .* is not allowed: give 1 to 200"):
            VideoWriter.open(site, name, NewVideo("a" * 16, "/a.avi", 10.0, 64, 48))

    def test_names_of_all_scripts_are_allowed(self, site):
        for name in ("Anna Müller", "安娜", "[north]", "=1+1", "x" * 200):
            assert statements.label(site, [site.tracklets()[0].id], name) == 1

    def test_a_source_that_is_not_utf_8_is_refused(self, site):
        with pytest.raises(InputError, match="is not named in UTF-8"):
            VideoWriter.open(site, "gate", NewVideo("a" * 16, "/\udcff.avi", 10.0, 64, 48))

    def test_a_name_that_is_not_utf_8_finds_nothing(self, site):
        assert site.tracklets(TrackletFilter(person="\udcff")) == []
        with pytest.raises(NotFoundError, match="no camera"):
            site.tracklets(TrackletFilter(cameras=["\udcff"]))
        with pytest.raises(NotFoundError, match="no video"):
            site.tracklets(TrackletFilter(videos=["\udcff"]))


class TestNumbers:
    @pytest.mark.parametrize("text", [f"{'a' * 16}-{'9' * 5000}", "9" * 5000, "-1", "a-", "a-٣"])
    def test_a_tracklet_id_has_at_most_nine_digits(self, text):
        with pytest.raises(InputError, match="is not a tracklet id") as caught:
            TrackletId.parse(text)
        assert len(str(caught.value)) < 300

    def test_limits_may_be_of_any_size(self, site):
        assert len(site.tracklets(limit=10**20)) == 3
        _, keys = LiveIndex().search(site, query(site), 10**20)
        assert keys.tolist() == [[1, *keys[0, 1:]]]
        assert keys.shape == (1, 3)

    @pytest.mark.parametrize("year", ["0001-01-01", "1899-12-31", "3000-01-01", "9999-12-31"])
    def test_times_outside_19_centuries_are_refused(self, year):
        for text in (f"{year}T23:59:59Z", f"{year}T00:00:00+14:00"):
            with pytest.raises(InputError, match="out of range: give a time between 1900 and 2999"):
                wall_clock(text)

    @pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e300", "9" * 5000])
    def test_seconds_are_finite(self, text):
        with pytest.raises(InputError, match="is not a number of seconds"):
            parse_time(text)

    @pytest.mark.parametrize("seconds", [-1e300, -6.3e10, 2.5340223e11, 1e300, float("inf")])
    def test_stored_times_beyond_the_calendar_end_with_it(self, seconds):
        for offset in (-86_399, 0, 86_399):
            assert from_epoch(seconds, offset).year in (1, 9999)

    def test_a_video_that_older_releases_put_at_the_end_of_the_calendar_is_listed(self, site):
        last = datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone.utc).timestamp()
        with site.writing() as db:
            db.execute("UPDATE videos SET start_time = ?", (last,))
        assert site.videos()[0].start_time.year == 9999
        assert [found.end_time.year for found in site.tracklets()] == [9999] * 3
        assert list(check_integrity(site)) == []


class TestFiles:
    def test_a_hash_that_is_a_path_is_damage(self, site):
        with site.writing() as db:
            db.execute("UPDATE videos SET hash = '../../../x'")
        for read in (site.tracklets, site.videos):
            with pytest.raises(StorageError, match=r"'\.\./\.\./\.\./x' is not the hash of a vide"):
                read()
        assert "../../../x" in next(check_integrity(site))
        with pytest.raises(InputError, match="is not a hash"):
            VideoWriter.open(site, "gate", NewVideo("../../../x", "/a.avi", 10.0, 64, 48))

    def test_a_cache_that_is_a_link_is_neither_written_nor_emptied(self, site, tmp_path, caplog):
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        (elsewhere / "photo.partial").write_text("mine")
        shutil.rmtree(site.cache, ignore_errors=True)
        site.cache.symlink_to(elsewhere)
        LiveIndex().opened(site)
        assert "is a link" in caplog.text
        assert [path.name for path in elsewhere.iterdir()] == ["photo.partial"]
        deletion.delete(site, TrackletFilter(tracklets=[site.tracklets()[0].id]))
        assert not site.cache.is_symlink()
        assert [path.name for path in elsewhere.iterdir()] == ["photo.partial"]
        LiveIndex().opened(site)
        assert list(site.cache.glob("*.index"))

    def test_a_deleted_cache_left_as_a_link_is_removed_alone(self, site, tmp_path):
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        (elsewhere / "photo").write_text("mine")
        (site.folder / "cache-1.deleted").symlink_to(elsewhere)
        site.empty_cache()
        assert (elsewhere / "photo").exists()
        assert not list(site.folder.glob("cache-*"))


def test_settings_of_a_connection_do_not_depend_on_how_sqlite_was_built(site, monkeypatch):
    """Some builds overwrite what is deleted by default, others do not."""
    real = sqlite3.connect

    def connect(*args, **options) -> sqlite3.Connection:
        connection = real(*args, **options)
        connection.execute("PRAGMA secure_delete = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        return connection

    monkeypatch.setattr(database.sqlite3, "connect", connect)
    with GalleryStore(site.folder) as opened, opened.reading() as db:
        assert db.execute("PRAGMA secure_delete").fetchone() == (1,)
        assert db.execute("PRAGMA foreign_keys").fetchone() == (1,)
        assert db.execute("PRAGMA synchronous").fetchone() == (2,)
        assert db.execute("PRAGMA temp_store").fetchone() == (2,)
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert db.execute("PRAGMA trusted_schema").fetchone() == (0,)


class TestDamage:
    @pytest.mark.parametrize("value", [b"odd", "text", b"", 7])
    def test_an_embedding_that_changed_under_an_index_is_reported(self, site, value):
        live = LiveIndex()
        asked = query(site)
        live.search(site, asked, 1)
        with site.writing() as db:
            db.execute("UPDATE embeddings SET mean = ?", (value,))
        with pytest.raises(StorageError, match=r"damaged \(an embedding without 8 dimensions"):
            live.search(site, asked, 1)

    @pytest.mark.parametrize(
        ("statement", "read"),
        [
            ("chunks VALUES (1, 0, x'00', x'')", VideoWriter.chunks),
            ("chunks VALUES (1, 0, x'', 'text')", VideoWriter.chunks),
            ("pending VALUES (1, 1, 1, 'x', 0, 1, 1, 1, 1, 1, x'')", VideoWriter.pending),
            ("pending VALUES (1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 'x')", VideoWriter.pending),
        ],
    )
    def test_unfinished_work_that_is_damaged_is_reported(self, site, statement, read):
        with site.writing() as db:
            db.execute(f"INSERT INTO {statement}")
        with pytest.raises(StorageError, match="damaged"):
            read(VideoWriter(site, site.videos()[0]))

    @pytest.mark.parametrize(
        ("statement", "read"),
        [
            ("UPDATE videos SET fps = 0", GalleryStore.videos),
            ("UPDATE videos SET settings = '[]'", GalleryStore.videos),
            ("UPDATE videos SET settings = '{'", GalleryStore.videos),
            ("UPDATE videos SET start_time = 0, utc_offset = 86400", GalleryStore.videos),
            ("UPDATE videos SET width = 'wide'", GalleryStore.videos),
            ("UPDATE cameras SET name = x'ff'", GalleryStore.cameras),
            ("UPDATE gallery SET dim = 0", GalleryStore.pages),
            ("UPDATE gallery SET dim = 1048576", GalleryStore.pages),
            ("UPDATE gallery SET dim = 9", GalleryStore.pages),
            ("UPDATE gallery SET generation = 'x'", GalleryStore.state),
            ("UPDATE tracklets SET start = 'x'", GalleryStore.tracklets),
            ("UPDATE crops SET jpeg = 'text'", lambda gallery: gallery.thumbnail(1)),
            ("UPDATE crops SET embedding = x'ff'", lambda gallery: gallery.crops(1)),
            ("UPDATE boxes SET boxes = x'ff'", lambda gallery: gallery.boxes(1)),
            ("INSERT INTO audit VALUES (1, 'noon', 'anna', 'search', '{}')", audit.entries),
            ("INSERT INTO audit VALUES (1, '2026-01-01', 'anna', 'search', '[]')", audit.entries),
        ],
    )
    def test_a_value_of_another_kind_is_reported_by_reading_and_by_verify(
        self, site, statement, read
    ):
        with site.writing() as db:
            db.execute(statement)
        with pytest.raises(StorageError, match=r"gallery\.sqlite: damaged \("):
            list(read(site))
        assert list(check_integrity(site))
