"""Writing a file completely or not at all."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from reid_dhm.errors import StorageError


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path``, which replaces it when the block ends without an error.

    After an error ``path`` is as it was. The suffix stays, for writers that choose a format by it.
    Links are followed; a device or pipe is written to, not replaced. Parent folders are created,
    and what killed processes left of earlier writes to ``path`` is removed.

    Raises:
        StorageError: if the block or the replacement meets an OSError.
    """
    try:
        if path.exists() and not path.is_file() and not path.is_dir():  # a device or a pipe
            yield path
            return
        target = path.resolve() if path.is_symlink() else path
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
    """Write a UTF-8 text file so that no reader sees half of it; see :func:`atomic_path`."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def temporary_folder(parent: Path, name: str) -> Iterator[Path]:
    """A folder in ``parent`` that is removed when the block ends.

    Parent folders are created, and what killed processes left under the same name is removed.
    """
    parent.mkdir(parents=True, exist_ok=True)
    for entry in parent.glob(f".{name}-*-*"):
        pid = entry.name.removeprefix(f".{name}-").partition("-")[0]
        if pid.isdecimal() and not _is_running(int(pid)):
            shutil.rmtree(entry, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{name}-{os.getpid()}-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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
