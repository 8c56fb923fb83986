"""What breaks around a gallery: disks, permissions, locks, files. Nothing committed may be lost."""

import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from reid_dhm.errors import (
    InputError,
    LockedError,
    NotFoundError,
    StorageError,
    StorageFullError,
    UnsupportedError,
)
from reid_dhm.gallery.records import DETECTION, Crop, NewTracklet, NewVideo, TrackletFilter
from reid_dhm.gallery.store import database, deletion, schema
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.store.integrity import check_integrity
from reid_dhm.gallery.store.writing import VideoWriter

UNIT = np.array([0.6, 0.8], np.float16)


def tracklet(track: int, size: int = 1000) -> NewTracklet:
    boxes = np.zeros(1, DETECTION)
    jpeg = b"\xff\xd8" + np.random.default_rng(track).bytes(size)
    return NewTracklet(track, boxes, [Crop(0, 0.0, (0, 0, 1, 1), 0.5, jpeg, UNIT)], UNIT)


def open_writer(gallery: GalleryStore) -> VideoWriter:
    gallery.claim_model("a" * 64, 2, "the model")
    return VideoWriter.open(gallery, "gate", NewVideo("0" * 16, "/gate.avi", 10.0, 64, 48))


def tracks(gallery: GalleryStore) -> list[int]:
    return [found.id.track for found in gallery.tracklets()]


@pytest.fixture
def folder(tmp_path) -> Path:
    """A gallery with tracklet 1."""
    with GalleryStore(tmp_path / "gallery", create=True) as gallery:
        open_writer(gallery).add([tracklet(1)])
    return tmp_path / "gallery"


def test_no_gallery_there(tmp_path):
    with pytest.raises(
        NotFoundError, match=r"nowhere holds no gallery: index a video .*--camera NAME SOURCE"
    ):
        GalleryStore(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_a_gallery_whose_making_was_killed_can_be_made_again(tmp_path):
    sqlite3.connect(tmp_path / database.FILE).execute("PRAGMA journal_mode = WAL")
    with pytest.raises(NotFoundError, match="holds no gallery: index a video"):
        GalleryStore(tmp_path)
    with GalleryStore(tmp_path, create=True) as gallery:
        assert gallery.count() == 0


def test_a_file_that_is_no_database(tmp_path):
    (tmp_path / database.FILE).write_bytes(b"a photograph" * 1000)
    with pytest.raises(StorageError, match="not a gallery, or damaged"):
        GalleryStore(tmp_path)


def test_a_database_of_somebody_else_is_left_alone(tmp_path):
    path = tmp_path / database.FILE
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE photographs (id INTEGER)")
    before = path.read_bytes()
    for create in (False, True):
        with pytest.raises(InputError, match="is not a gallery: name another folder"):
            GalleryStore(tmp_path, create=create)
    assert path.read_bytes() == before


def test_a_gallery_of_a_newer_release(folder):
    with sqlite3.connect(folder / database.FILE) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(UnsupportedError, match=r"newer release \(schema 99, this one supports"):
        GalleryStore(folder)


def test_a_gallery_of_an_older_release_is_brought_up_to_date(tmp_path, monkeypatch):
    folder = tmp_path / "old"
    with monkeypatch.context() as old:
        for module in (schema, database):
            old.setattr(module, "STEPS", schema.STEPS[:1])
        with GalleryStore(folder, create=True) as gallery:
            open_writer(gallery).add([tracklet(1)])
    for count in (1, 0):
        with GalleryStore(folder) as gallery:
            assert deletion.delete(gallery, TrackletFilter(after=0.0, before=9.0)).count == count


def test_a_damaged_file_is_one_sentence(folder):
    path = folder / database.FILE
    content = bytearray(path.read_bytes())
    content[4096:] = os.urandom(len(content) - 4096)
    path.write_bytes(content)
    with (
        pytest.raises(StorageError, match="damaged; restore it from a copy"),
        GalleryStore(folder) as gallery,
    ):
        gallery.tracklets()


def test_a_locked_file_is_waited_for_and_then_named(folder, monkeypatch):
    monkeypatch.setattr(database, "_PATIENCE_MS", 50)
    with GalleryStore(folder) as gallery, sqlite3.connect(folder / database.FILE) as other:
        writer = open_writer(gallery)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LockedError, match=r"gallery\.sqlite: locked by another process"):
            writer.add([tracklet(2)])
        assert tracks(gallery) == [1]  # readers do not wait
        other.rollback()
        writer.add([tracklet(2)])
        assert tracks(gallery) == [1, 2]


def test_a_file_that_may_not_grow_keeps_what_was_committed(folder):
    with GalleryStore(folder) as gallery:
        writer = open_writer(gallery)
        with gallery.reading() as db:
            (pages,) = db.execute("PRAGMA page_count").fetchone()
            db.execute(f"PRAGMA max_page_count = {pages + 4}")
        with pytest.raises(StorageFullError, match="the disk is full; free some space and run"):
            writer.add([tracklet(track, 5000) for track in range(2, 30)])
        assert tracks(gallery) == [1]
        with gallery.reading() as db:
            db.execute("PRAGMA max_page_count = 100000")
        writer.add([tracklet(2)])
        assert tracks(gallery) == [1, 2]


FILL = """
import os, sys
from tests_of_failures import open_writer, tracklet
from reid_dhm.cli import _failure
from reid_dhm.errors import ReidError
from reid_dhm.gallery.store.gallery import GalleryStore

if "nobody" in sys.argv:
    os.setgid(65534)
    os.setuid(65534)
try:
    with GalleryStore(sys.argv[1], create=True) as gallery:
        writer = open_writer(gallery)
        for track in range(2, 1000):
            writer.add([tracklet(track, 20_000)])
            print(track, flush=True)
except ReidError as error:
    sys.exit(_failure(str(error)))
"""


def python(code: str, *arguments: object, **options) -> subprocess.CompletedProcess:
    """Run code that imports this module as ``tests_of_failures``."""
    here = (
        "import importlib.util, sys\n"
        f"spec = importlib.util.spec_from_file_location('tests_of_failures', {__file__!r})\n"
        "module = sys.modules['tests_of_failures'] = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(module)\n"
    )
    command = [sys.executable, "-c", here + code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, **options)


def test_a_disk_that_fills_up_keeps_what_was_committed(folder):
    """The operating system refuses bytes beyond a limit, as a full disk does."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))

    done = python(FILL, folder, preexec_fn=limit)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "disk" in done.stderr
    assert "is full" in done.stderr
    written = [int(line) for line in done.stdout.split()]
    assert len(written) > 3
    with GalleryStore(folder) as gallery:
        assert tracks(gallery) == [1, *written]
        assert not [p for p in check_integrity(gallery) if "decoded" not in p]


@pytest.mark.skipif(os.geteuid() != 0, reason="only the superuser can step down to another user")
def test_a_folder_that_may_not_be_written():
    folder = Path(tempfile.mkdtemp())
    try:
        with GalleryStore(folder, create=True) as gallery:
            open_writer(gallery)
        folder.chmod(0o555)
        done = python(FILL, folder, "nobody")
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
        assert "gallery.sqlite: cannot be" in done.stderr
        done = python(FILL, folder / "new", "nobody")
        assert done.returncode != 0
        assert "Permission denied" in done.stderr
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)


def test_another_writer_of_the_same_video_is_noticed(folder):
    from reid_dhm.gallery.store.writing import Chunk, Progress

    def progress(first: int) -> Progress:
        frames = np.array([(first, first / 10)], dtype=[("frame", "<i4"), ("time", "<f8")])
        return Progress(Chunk(frames, np.empty(0, DETECTION)), first + 1, {})

    with GalleryStore(folder) as gallery, GalleryStore(folder) as other:
        mine, theirs = open_writer(gallery), open_writer(other)
        mine.commit(progress(0))
        with pytest.raises(LockedError, match="is being indexed by another process"):
            theirs.commit(progress(0))
        from reid_dhm.gallery.store import deletion

        deletion.delete(other, TrackletFilter(videos=["0" * 16]), whole=True)
        with pytest.raises(NotFoundError, match="was deleted from the gallery meanwhile"):
            mine.commit(progress(1))


def test_a_damaged_schema_that_is_not_text_is_one_sentence(folder):
    with sqlite3.connect(folder / database.FILE) as db:
        db.execute("PRAGMA writable_schema = ON")
        db.execute("UPDATE sqlite_master SET name = x'ffffff' WHERE name = 'videos'")
    with pytest.raises(StorageError, match="damaged; restore it from a copy"):
        GalleryStore(folder)
