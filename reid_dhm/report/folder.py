"""The folder of a report, which appears complete or not at all and replaces only a report."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from reid_dhm.errors import InputError
from reid_dhm.files import temporary_folder

RESULTS = "results.json"
MADE_BY = "reid-dhm report"
_OWN = {
    *("index.html", RESULTS, "per_query.csv", "queries.js", "report.css", "report.js"),
    *("activation", "clips", "crops", "figures", "queries", "query", "thumbs"),
}


def check_folder(folder: Path) -> None:
    """Refuse to replace anything but a report; call it before long work.

    Raises:
        InputError: if ``folder`` is a file, or holds other files than a report.
    """
    if Path(os.path.realpath(folder)).is_symlink():
        raise InputError(f"{folder} is a link that leads to itself: name a folder for the report")
    if not folder.exists():
        return
    if not folder.is_dir():
        raise InputError(f"{folder} is a file: name a folder for the report")
    names = {path.name for path in folder.iterdir()}
    if names and not _is_report(folder):
        raise InputError(f"{folder} holds other files and is not a report: name another folder")
    if others := sorted(names - _OWN):
        raise InputError(
            f"{folder} holds {others[0]!r} beside a report: move it away or name another folder"
        )


@contextmanager
def report_folder(folder: Path) -> Iterator[Path]:
    """A new folder to write to, which replaces ``folder`` when the block ends without an error.

    What killed runs left of earlier reports is removed.

    Raises:
        InputError: as :func:`check_folder`.
    """
    check_folder(folder)
    folder = folder.resolve()
    with temporary_folder(folder.parent, folder.name) as scratch:
        fresh = scratch / "new"
        fresh.mkdir()
        _copy_assets(fresh)
        yield fresh
        if folder.exists():
            folder.rename(scratch / "old")
        fresh.rename(folder)


def write_results(folder: Path, kind: str, content: Mapping[str, Any]) -> None:
    """Write ``results.json``, which also marks the folder as a report of this ``kind``."""
    marked = {"made_by": MADE_BY, "kind": kind, **content}
    text = json.dumps(marked, indent=2, allow_nan=False)
    (folder / RESULTS).write_text(text + "\n", encoding="utf-8")


def _is_report(folder: Path) -> bool:
    try:
        content = json.loads((folder / RESULTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("made_by") == MADE_BY


def _copy_assets(folder: Path) -> None:
    with as_file(files("reid_dhm.report") / "assets") as assets:
        for asset in assets.iterdir():
            shutil.copyfile(asset, folder / asset.name)
