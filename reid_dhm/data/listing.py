"""Image files in folders; files that are left out are counted and named, never dropped silently."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from reid_dhm.errors import InputError, NotFoundError
from reid_dhm.text import printable

logger = logging.getLogger(__name__)

IMAGE_SUFFIXES = frozenset(
    (
        *(".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg"),
        *(".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"),
    )
)

_SYSTEM_FILES = ("desktop.ini", "thumbs.db")  # hidden files are skipped by their name


@dataclass
class FolderContent:
    """The visible entries of a folder, in name order.

    Attributes:
        images: files with an image's suffix.
        folders: folders, links to folders included.
        others: all other files.
    """

    images: list[Path] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)


def scan_folder(folder: Path) -> FolderContent:
    """Sort the entries of a folder into images, folders and others.

    Hidden entries (macOS leaves ``._*`` files beside images), ``Thumbs.db`` and ``desktop.ini`` are
    skipped.

    Raises:
        NotFoundError: no such folder, or dead links in it.
        InputError: the folder cannot be read, or a name in it is not UTF-8.
    """
    content, dead = FolderContent(), []
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except FileNotFoundError:
        raise NotFoundError(f"folder {printable(folder)} does not exist: check the path") from None
    except OSError as error:
        raise InputError(
            f"folder {printable(folder)} cannot be read ({error.strerror}): check its permissions"
        ) from error
    for entry in entries:
        if entry.name.startswith(".") or entry.name.lower() in _SYSTEM_FILES:
            continue
        path = folder / entry.name
        check_name(path)
        if entry.is_dir():
            content.folders.append(path)
        elif entry.is_symlink() and not path.exists():
            dead.append(path)
        elif path.suffix.lower() in IMAGE_SUFFIXES and entry.is_file():
            content.images.append(path)
        else:
            content.others.append(path)
    if dead:
        more = f" and {len(dead) - 1} other dead links beside it" if len(dead) > 1 else ""
        raise NotFoundError(
            f"{dead[0]} is a dead link to {printable(dead[0].readlink())}{more}: restore what "
            "it points to, or remove the link"
        )
    return content


def list_images(folder: Path) -> list[Path]:
    """Image files directly in ``folder``, in name order; raises as :func:`scan_folder`."""
    return scan_folder(folder).images


def list_images_below(folder: Path) -> list[Path]:
    """Image files in ``folder`` and all folders below it, links followed, in path order.

    A folder that is reached twice is read once. Files that are not images are counted in a warning.

    Raises:
        NotFoundError: no such folder, or dead links in it.
        InputError: a folder cannot be read, or a name is not UTF-8.
    """
    images: list[Path] = []
    left_out: list[Path] = []
    pending, seen = [folder], set()
    while pending:
        here = pending.pop()
        if here.resolve() in seen:
            continue
        seen.add(here.resolve())
        content = scan_folder(here)
        images += content.images
        left_out += content.others
        pending += content.folders[::-1]
    warn_left_out(folder, left_out)
    return sorted(images, key=str)


def warn_left_out(root: Path, paths: Iterable[Path]) -> None:
    """Log how many files and folders are left out, by suffix, and the first one."""
    paths = list(paths)
    if not paths:
        return
    kinds = Counter(
        "folders" if path.is_dir() else path.suffix.lower() or "no suffix" for path in paths
    )
    logger.warning(
        "%s: %d entries left out, as they are not images: %s (first: %s)",
        root,
        len(paths),
        ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(5)),
        paths[0].relative_to(root) if paths[0].is_relative_to(root) else paths[0],
    )


def check_name(path: Path | str) -> None:
    """Refuse a path that is not UTF-8: it could not be stored or shown.

    Raises:
        InputError: naming the path with its foreign bytes escaped.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise InputError(
            f"the name {printable(path)} is not UTF-8: rename the file or folder"
        ) from None
