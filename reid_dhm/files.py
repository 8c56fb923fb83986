"""Writing a file completely or not at all."""

from __future__ import annotations

import errno
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from reid_dhm.errors import StorageError


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path``, which replaces it when the block ends without an error.

    After an error ``path`` is as it was. The suffix stays, for writers that choose a format by it.
    Links are followed; devices, pipes and everything in /dev and /proc are written to, not
    replaced. Parent folders are created, and what killed processes left of earlier writes to
    ``path`` is removed.

    Raises:
        StorageError: if the block or the replacement meets an OSError.
    """
    try:
        if _is_written_in_place(path):
            yield path
            return
        target = Path(os.path.realpath(path)) if path.is_symlink() else path
        if target.is_symlink():
            raise OSError(errno.ELOOP, "a link that leads to itself")
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(target)
        temporary = target.with_name(f".{target.stem}.{os.getpid()}.partial{target.suffix}")
        try:
            yield temporary
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(
            f"{path}: cannot be written ({error.strerror or error}): choose a writable folder with "
            "free space"
        ) from error


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file so that no reader sees half of it; see :func:`atomic_path`.

    If ``path`` is the standard output, the text is printed after what was printed before.
    """
    if _is_standard_output(path):
        print(text, end="", flush=True)
        return
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def csv_cell(value: Any) -> Any:
    """A cell for a CSV file that no spreadsheet takes for a formula."""
    formula = isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r"))
    return f"'{value}" if formula else value


@contextmanager
def temporary_folder(parent: Path, name: str) -> Iterator[Path]:
    """A folder in ``parent`` that is removed when the block ends.

    Parent folders are created, and what killed processes left under the same name is removed.
    """
    parent.mkdir(parents=True, exist_ok=True)
    leftover = re.compile(re.escape(f".{name}-") + r"(\d+)-[a-z0-9_]{8}")  # as mkdtemp makes it
    for entry in os.scandir(parent):
        found = leftover.fullmatch(entry.name)
        if found and not _is_running(int(found[1])):
            shutil.rmtree(entry.path, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{name}-{os.getpid()}-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _is_written_in_place(path: Path) -> bool:
    """Whether ``path`` is a device, a pipe, or a link in /dev or /proc to an open file."""
    if not path.exists() or path.is_dir():
        return False
    return not path.is_file() or path.absolute().parts[1:2] in (("dev",), ("proc",))


def _is_standard_output(path: Path) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(sys.stdout.fileno()))
    except (OSError, ValueError):  # no such file yet, or an output without a descriptor
        return False


def _remove_leftovers(target: Path) -> None:
    name = re.compile(re.escape(f".{target.stem}.") + r"(\d+)\.partial" + re.escape(target.suffix))
    for entry in os.scandir(target.parent):
        found = name.fullmatch(entry.name)
        if found and not _is_running(int(found[1])):
            with suppress(OSError):
                Path(entry.path).unlink()


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True
