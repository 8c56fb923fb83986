"""Opening the SQLite file of a gallery, transactions, and its failures as errors of the package."""

from __future__ import annotations

import os
import shutil
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
from reid_dhm.gallery.address import shared_address
from reid_dhm.gallery.store.schema import STEPS, upgrade
from reid_dhm.text import shell_word

FILE = "gallery.sqlite"
_APPLICATION = 0x52654944  # "ReID", in the header of the file
_PATIENCE_MS = 5000  # wait for another process's transaction


class Connection(sqlite3.Connection):
    """A connection that knows whether it is within a :func:`transaction`."""

    writing = False


def connect(folder: Path, create: bool = False) -> Connection:
    """Open the database of a gallery folder.

    Args:
        folder: of the gallery.
        create: make folder and file if they do not exist.

    Raises:
        NotFoundError: no gallery there.
        InputError: another program's database, a gallery of a newer release, or a shared gallery.
        LockedError, StorageError: as :func:`translated_errors`.
    """
    if shared_address(folder) is not None:
        raise UnsupportedError(
            f"{shared_address(folder)} is a shared gallery, and this works on a folder only: copy "
            f"it first (reid-dhm gallery copy {shell_word(shared_address(folder))} FOLDER)"
        )
    path = folder / FILE
    if not create and not path.is_file():
        raise _nothing_there(folder)
    if create:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)  # images of people are its owner's alone
    with translated_errors(path):
        connection = sqlite3.connect(
            path,
            timeout=_PATIENCE_MS / 1000,
            isolation_level=None,
            check_same_thread=False,
            factory=Connection,
        )
        try:
            _prepare(connection, path, create)
        except BaseException:
            connection.close()
            raise
    return connection


def _prepare(connection: Connection, path: Path, create: bool) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application != _APPLICATION and tables:
        raise InputError(f"{path} is not a gallery: name another folder")
    if application != _APPLICATION and not create:  # its creation was killed
        raise _nothing_there(path.parent)
    if version > len(STEPS):
        raise UnsupportedError(
            f"{path} was written by a newer release (schema {version}, this one supports up to "
            f"{len(STEPS)}): update reid-dhm"
        )
    # Deleted rows are overwritten, in the file and in whatever the file is rebuilt from.
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA synchronous = FULL")
    if application != _APPLICATION:
        connection.execute("PRAGMA journal_mode = WAL")
    if application != _APPLICATION or version < len(STEPS):
        with transaction(connection):  # another process may have been quicker
            upgrade(connection)
            connection.execute(f"PRAGMA application_id = {_APPLICATION}")


def _nothing_there(folder: Path) -> NotFoundError:
    return NotFoundError(
        f"{folder} holds no gallery: index a video into it first (reid-dhm index-video --gallery "
        f"{shell_word(folder)} --camera NAME SOURCE)"
    )


@contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """All or nothing; other writers wait, readers see the state before it.

    Within another transaction it is a part of that one.
    """
    if connection.writing:
        yield
        return
    connection.execute("BEGIN IMMEDIATE")
    connection.writing = True
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # some failures have rolled it back already
            connection.execute("ROLLBACK")
        raise
    finally:
        connection.writing = False


def remove_cache(cache: Path) -> None:
    """Delete the folder of derived data beside the database; of a link only the link itself.

    Raises:
        StorageError: it cannot be deleted.
    """
    # Under another name no process adds to it.
    doomed = cache.with_name(f"cache-{uuid.uuid4().hex}.deleted")
    with suppress(FileNotFoundError):
        try:
            cache.rename(doomed)
        except PermissionError as error:
            raise StorageError(f"{cache} cannot be deleted: {error.strerror}") from error
    for folder in cache.parent.glob("cache-*.deleted"):  # also of killed processes
        if folder.is_symlink():
            folder.unlink()
        shutil.rmtree(folder, ignore_errors=True)
    if os.path.lexists(doomed):
        raise StorageError(f"{doomed} cannot be deleted: delete it by hand")


class DamagedRowError(Exception):
    """A row holds values that no release writes."""


@contextmanager
def translated_errors(path: object) -> Iterator[None]:
    """Raise SQLite's failures as errors of the package, with the file and the remedy.

    Raises:
        LockedError: another process kept the file locked for longer than this one waits.
        StorageFullError: the disk is full.
        StorageError: the file is damaged, or cannot be opened, read or written.
    """
    try:
        yield
    except DamagedRowError as error:
        raise StorageError(f"{path}: damaged ({error}); {_RESTORE}") from error
    except UnicodeDecodeError as error:  # SQLite's own message quotes bytes of a damaged schema
        raise StorageError(f"{path}: {_DAMAGED[1]}") from error
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
_RESTORE = "restore it from a copy, or index the videos again"
_DAMAGED = (StorageError, f"damaged; {_RESTORE}")
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
