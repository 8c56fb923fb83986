"""Writing a file completely or not at all."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Set
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from reid_dhm.errors import StorageError, StorageFullError

_LONGEST_WRITE = 3600.0  # seconds; what is younger is never taken for a leftover


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path``, which replaces it when the block ends without an error.

    After an error ``path`` is as it was. The suffix stays, for writers that choose a format by it.
    Links are followed; devices, pipes and links such as /dev/stdout are not replaced: what is
    complete is copied to them, so that every format can be written there.
    Parent folders are created, and what killed processes left of earlier writes to ``path`` is
    removed after an hour.

    Raises:
        StorageFullError: the disk is full, or a quota is used up.
        StorageError: ``path`` is a folder or cannot be written. An OSError of the block that
            names another file is raised as it is.
    """
    with _translated_errors(path):
        if path.is_dir():
            raise StorageError(f"{path}: cannot be written (it is a folder): name a file")
        in_place = is_written_in_place(path)
    if in_place:
        with tempfile.TemporaryDirectory(prefix="reid-dhm-") as folder:
            temporary = Path(folder) / path.name
            yield temporary
            with _translated_errors(path):
                _copy_into(temporary, path)
        return
    with _translated_errors(path):
        target = Path(os.path.realpath(path)) if path.is_symlink() else path
        if target.is_symlink():
            raise OSError(errno.ELOOP, "a link that leads to itself")
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(target)
    part = f"{os.getpid()}.{secrets.token_hex(4)}"  # threads may write the same target
    temporary = target.with_name(f".{target.stem}.{part}.partial{target.suffix}")
    try:
        with _translated_errors(path, {str(path), str(target), str(temporary)}):
            yield temporary
            temporary.replace(target)
    finally:
        with _translated_errors(path):
            temporary.unlink(missing_ok=True)


@contextmanager
def _translated_errors(path: Path, names: Set[str] | None = None) -> Iterator[None]:
    """Raise an OSError as StorageError; one that names only files outside ``names`` stays."""
    try:
        yield
    except OSError as error:
        about = {str(name) for name in (error.filename, error.filename2) if name is not None}
        if names is not None and about and not about & names:
            raise
        what = f"{path}: cannot be written ({error.strerror or error})"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFullError(f"{what}: free some space or choose another folder") from error
        raise StorageError(f"{what}: choose a writable folder") from error


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file so that no reader sees half of it; see :func:`atomic_path`."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def csv_cell(value: Any) -> Any:
    """A cell for a CSV file that no spreadsheet takes for a formula."""
    formula = isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r"))
    return f"'{value}" if formula else value


@contextmanager
def temporary_folder(parent: Path, name: str) -> Iterator[Path]:
    """A folder in ``parent`` that is removed when the block ends.

    Parent folders are created, and what killed processes left under the same name is removed
    after an hour.
    """
    parent.mkdir(parents=True, exist_ok=True)
    leftover = re.compile(re.escape(f".{name}-") + r"(\d+)-[a-z0-9_]{8}")  # as mkdtemp makes it
    for entry in os.scandir(parent):
        found = leftover.fullmatch(entry.name)
        if found and _is_leftover(entry, int(found[1])):
            shutil.rmtree(entry.path, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{name}-{os.getpid()}-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def is_written_in_place(path: Path) -> bool:
    """Whether ``path`` is a device, a pipe, or a name of an open file, such as /dev/stdout."""
    if not path.exists():
        return False
    parts = path.absolute().parts[1:3]
    return not path.is_file() or (parts[:1] in (("dev",), ("proc",)) and parts != ("dev", "shm"))


def _copy_into(source: Path, path: Path) -> None:
    """Write a file into a device or pipe; the standard output keeps its order."""
    with source.open("rb") as stream:
        if is_standard_output(path):
            assert sys.__stdout__ is not None
            sys.stdout.flush()
            while data := stream.read(1 << 20):
                os.write(sys.__stdout__.fileno(), data)
            return
        with path.open("wb") as target:
            shutil.copyfileobj(stream, target)


def is_standard_output(path: Path) -> bool:
    """Whether ``path`` is where the process's standard output goes."""
    try:
        stream = sys.__stdout__
        return stream is not None and os.path.samestat(path.stat(), os.fstat(stream.fileno()))
    except (OSError, ValueError):  # no such file yet, or an output without a descriptor
        return False


def _remove_leftovers(target: Path) -> None:
    before, after = re.escape(f".{target.stem}."), re.escape(f".partial{target.suffix}")
    name = re.compile(
        rf"{before}(\d+)(\.[0-9a-f]{{8}})?{after}"
    )  # earlier versions: no random part
    for entry in os.scandir(target.parent):
        found = name.fullmatch(entry.name)
        if found and _is_leftover(entry, int(found[1])):
            with suppress(OSError):
                Path(entry.path).unlink()


def _is_leftover(entry: os.DirEntry[str], pid: int) -> bool:
    """Whether ``entry`` is old and its process has ended.

    The process may run on another host or in another container, where its id is not seen: what is
    younger than an hour stays.
    """
    try:
        age = time.time() - entry.stat(follow_symlinks=False).st_mtime
    except FileNotFoundError:  # another process removed it
        return False
    return age > _LONGEST_WRITE and not _is_running(pid)


def _is_running(pid: int) -> bool:
    if sys.platform == "win32":  # there os.kill(pid, 0) sends CTRL+C
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True
