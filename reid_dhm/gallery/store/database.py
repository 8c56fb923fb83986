"""The SQLite file of a gallery: its schema, how it is opened, and what its failures mean to users.

What the rows mean is :mod:`reid_dhm.gallery.store.gallery`'s; docs/gallery.md explains every table.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reid_dhm.errors import (
    InputError,
    LockedError,
    NotFoundError,
    ReidError,
    StorageError,
    StorageFullError,
    UnsupportedError,
)

FILE = "gallery.sqlite"
_APPLICATION = 0x52654944  # "ReID": tells a gallery from any other SQLite file
_VERSION = 2
_PATIENCE_MS = 5000  # how long to wait for another process's transaction

_SCHEMA = """
CREATE TABLE gallery (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    fingerprint TEXT,
    model TEXT,
    dim INTEGER,
    generation INTEGER NOT NULL DEFAULT 0,
    deletions INTEGER NOT NULL DEFAULT 0
);
INSERT INTO gallery (only) VALUES (1);
CREATE TABLE cameras (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE
);
CREATE TABLE videos (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    hash TEXT NOT NULL UNIQUE,
    camera INTEGER NOT NULL REFERENCES cameras ON DELETE CASCADE,
    source TEXT NOT NULL,
    fps REAL NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    start_time REAL,
    utc_offset INTEGER NOT NULL DEFAULT 0,
    resumable INTEGER NOT NULL,
    settings TEXT NOT NULL,
    position INTEGER NOT NULL DEFAULT 0,
    complete INTEGER NOT NULL DEFAULT 0,
    num_frames INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX videos_camera ON videos (camera);
CREATE TABLE chunks (
    video INTEGER NOT NULL REFERENCES videos ON DELETE CASCADE,
    first_frame INTEGER NOT NULL,
    frames BLOB NOT NULL,
    detections BLOB NOT NULL,
    PRIMARY KEY (video, first_frame)
);
CREATE TABLE pending (
    id INTEGER PRIMARY KEY,
    video INTEGER NOT NULL REFERENCES videos ON DELETE CASCADE,
    track INTEGER NOT NULL,
    frame INTEGER NOT NULL,
    time REAL NOT NULL,
    x1 REAL NOT NULL, y1 REAL NOT NULL, x2 REAL NOT NULL, y2 REAL NOT NULL,
    quality REAL NOT NULL,
    jpeg BLOB NOT NULL,
    UNIQUE (video, track, frame)
);
CREATE TABLE tracklets (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    video INTEGER NOT NULL REFERENCES videos ON DELETE CASCADE,
    track INTEGER NOT NULL,
    start REAL NOT NULL,
    "end" REAL NOT NULL,
    first_frame INTEGER NOT NULL,
    last_frame INTEGER NOT NULL,
    num_boxes INTEGER NOT NULL,
    person TEXT,
    UNIQUE (video, track)
);
CREATE INDEX tracklets_person ON tracklets (person) WHERE person IS NOT NULL;
CREATE TABLE embeddings (
    tracklet INTEGER PRIMARY KEY REFERENCES tracklets ON DELETE CASCADE,
    mean BLOB NOT NULL
);
CREATE TABLE boxes (
    tracklet INTEGER PRIMARY KEY REFERENCES tracklets ON DELETE CASCADE,
    boxes BLOB NOT NULL
);
CREATE TABLE crops (
    id INTEGER PRIMARY KEY,
    tracklet INTEGER NOT NULL REFERENCES tracklets ON DELETE CASCADE,
    rank INTEGER NOT NULL,
    frame INTEGER NOT NULL,
    time REAL NOT NULL,
    x1 REAL NOT NULL, y1 REAL NOT NULL, x2 REAL NOT NULL, y2 REAL NOT NULL,
    quality REAL NOT NULL,
    embedding BLOB NOT NULL,
    jpeg BLOB NOT NULL,
    UNIQUE (tracklet, rank)
);
CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    time TEXT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    detail TEXT NOT NULL
);
"""
_SINCE_1 = """CREATE TABLE forgotten (
    video INTEGER NOT NULL REFERENCES videos ON DELETE CASCADE,
    after REAL,
    before REAL
)"""


def connect(folder: Path, create: bool = False) -> sqlite3.Connection:
    """Open the database of a gallery folder, making both if asked to.

    Raises:
        InputError: no gallery there, a file that is none, or one of a newer release.
    """
    path = folder / FILE
    if not create and not path.is_file():
        raise _nothing_there(folder)
    if create:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)  # images of people are its owner's alone
    with translated_errors(path):
        connection = sqlite3.connect(
            path, timeout=_PATIENCE_MS / 1000, isolation_level=None, check_same_thread=False
        )
        try:
            _prepare(connection, path, create)
        except BaseException:
            connection.close()
            raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path, create: bool) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application != _APPLICATION and tables:
        raise InputError(f"{path} is no gallery: name another folder")
    if application != _APPLICATION and not create:  # made by a process that was killed at once
        raise _nothing_there(path.parent)
    if version > _VERSION:
        raise UnsupportedError(
            f"{path} was written by a newer release (schema {version}, this one knows "
            f"{_VERSION}): update reid-dhm"
        )
    # What is deleted is overwritten, in the file and in whatever the file is rebuilt from.
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = FULL")
    if application != _APPLICATION:
        connection.execute("PRAGMA journal_mode = WAL")
        with transaction(connection):
            # Another process may have been quicker.
            if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                for statement in (*_SCHEMA.split(";\n"), _SINCE_1):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {_VERSION}")
                connection.execute(f"PRAGMA application_id = {_APPLICATION}")
    elif version < _VERSION:
        with transaction(connection):
            if connection.execute("PRAGMA user_version").fetchone()[0] < _VERSION:
                connection.execute(_SINCE_1)
                connection.execute(f"PRAGMA user_version = {_VERSION}")


def _nothing_there(folder: Path) -> NotFoundError:
    return NotFoundError(
        f"{folder} holds no gallery: index a video into it first (reid-dhm index-video --gallery "
        f"{folder})"
    )


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing; other writers wait, readers go on with what was there before."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # some failures have rolled it back already
            connection.execute("ROLLBACK")
        raise


@contextmanager
def translated_errors(path: Path) -> Iterator[None]:
    """Raise SQLite's failures as errors of the package, with the file and the remedy.

    Raises:
        LockedError: another process kept the file locked for longer than this one waits.
        StorageFullError: the disk is full.
        StorageError: the file is damaged, or cannot be opened, read or written.
    """
    try:
        yield
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
        raise  # a defect of the program
    except sqlite3.DatabaseError as error:
        name = _error_name(error)
        kind, message = next(
            (found for start, found in _ERRORS.items() if name.startswith(start)), _DAMAGED
        )
        raise kind(f"{path}: {message}") from error


_Translation = tuple[type[ReidError], str]

_LOCKED = (LockedError, "locked by another process; wait until that is done, or stop it")
_FORBIDDEN = (StorageError, "cannot be written; allow writing to the file and its folder")
_DAMAGED = (StorageError, "damaged; restore it from a copy, or index the videos anew")
_ERRORS: dict[str, _Translation] = {
    "SQLITE_BUSY": _LOCKED,
    "SQLITE_LOCKED": _LOCKED,
    "SQLITE_FULL": (
        StorageFullError,
        "the disk is full; free some space and run this again, what was committed is kept",
    ),
    "SQLITE_READONLY": _FORBIDDEN,
    "SQLITE_PERM": _FORBIDDEN,
    "SQLITE_CANTOPEN": (StorageError, "cannot be opened; allow reading and writing its folder"),
    "SQLITE_NOTADB": (
        StorageError,
        "not a gallery, or damaged; restore it from a copy or name another folder",
    ),
    "SQLITE_IOERR": (
        StorageError,
        "the disk failed or is full; check it and run this again, what was committed is kept",
    ),
}

# Python 3.10 does not tell SQLite's error codes; its messages begin alike in every release.
_NAMES_BY_MESSAGE = {
    "database is locked": "SQLITE_BUSY",
    "database table is locked": "SQLITE_LOCKED",
    "database or disk is full": "SQLITE_FULL",
    "attempt to write a readonly": "SQLITE_READONLY",
    "unable to open": "SQLITE_CANTOPEN",
    "file is not a database": "SQLITE_NOTADB",
    "disk I/O error": "SQLITE_IOERR",
}


def _error_name(error: sqlite3.DatabaseError) -> str:
    if name := getattr(error, "sqlite_errorname", ""):
        return str(name)
    message = str(error)
    return next((n for start, n in _NAMES_BY_MESSAGE.items() if message.startswith(start)), "")
