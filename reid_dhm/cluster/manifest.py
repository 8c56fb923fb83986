"""Which sources to index: a list, a folder, or a manifest with camera and start time."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from reid_dhm.errors import InputError, NotFoundError
from reid_dhm.gallery.footage.addresses import is_address, without_credentials
from reid_dhm.gallery.records import check_name, wall_clock

VIDEOS = frozenset((".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm"))
_COLUMNS = ("source", "camera", "start")


@dataclass(frozen=True, slots=True)
class ListedSource:
    """A source to be indexed.

    Attributes:
        source: path or address, as every worker opens it.
        camera: name of its camera.
        start: wall-clock time of its first frame; None if unknown.
    """

    source: str
    camera: str
    start: datetime | None = None

    @property
    def name(self) -> str:
        """The source as it may be shown: an address without credentials and signature."""
        return without_credentials(self.source) if is_address(self.source) else self.source


def list_sources(
    given: Sequence[str], camera: str | None = None, start: datetime | None = None
) -> list[ListedSource]:
    """The sources that a user gives, in order, each once.

    Args:
        given: videos and addresses; folders, of which every video at any depth is meant; and
            manifests: ``.csv`` files with the columns ``source``, ``camera`` and, if known,
            ``start`` (ISO 8601). Paths in a manifest are relative to it.
        camera: of videos without a manifest.
        start: of a single video without a manifest.

    Raises:
        InputError: a line of a manifest that cannot be read, a source that is listed twice, a
            video without a camera, or one start for several videos.
        NotFoundError: a file that does not exist, or a folder without videos.
    """
    plain: list[str] = []
    found: list[ListedSource] = []
    places: list[str] = []
    for text in given:
        path = Path(text)
        if path.suffix.lower() == ".csv":
            listed = _manifest(path)
            found += [source for _, source in listed]
            places += [f"{path}, line {line}: " for line, _ in listed]
        elif path.is_dir():
            inside = sorted(str(file) for file in path.rglob("*") if file.suffix.lower() in VIDEOS)
            if not inside:
                raise NotFoundError(f"{text} holds no videos: give a folder of video files")
            plain += inside
        else:
            plain.append(text)
    if plain and camera is None:
        raise InputError(
            f"no camera for {ListedSource(plain[0], '').name}: give --camera NAME, or a "
            f"manifest.csv with the columns {', '.join(_COLUMNS)}"
        )
    if start is not None and len(plain) > 1:
        raise InputError(f"--start is of one video and {len(plain)} are given: use a manifest.csv")
    found += [ListedSource(_absolute(text), camera or "", start) for text in plain]
    seen: set[str] = set()
    places += [""] * len(plain)
    for place, each in zip(places, found, strict=True):
        if each.source in seen:
            raise InputError(f"{place}{each.name} is listed twice: list it once")
        seen.add(each.source)
        if "://" not in each.source and not Path(each.source).exists():
            raise NotFoundError(f"{place}{each.name} does not exist: correct or remove it")
    return found


def _manifest(path: Path) -> list[tuple[int, ListedSource]]:
    """The sources of a manifest with their lines."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError:
        raise NotFoundError(f"{path} does not exist: give a manifest") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as CSV in UTF-8: {error}") from error
    if not rows or not {"source", "camera"} <= set(rows[0]):
        raise InputError(
            f"{path} is not a manifest: its first line has to be {','.join(_COLUMNS)}, and a line "
            "follows for every source"
        )
    found = []
    for number, row in enumerate(rows, 2):
        source, camera = (row["source"] or "").strip(), (row["camera"] or "").strip()
        start = (row.get("start") or "").strip()
        try:
            if not source:
                raise InputError("no source")
            check_name("camera", camera)
            moment = wall_clock(start) if start else None
        except InputError as error:
            raise InputError(f"{path}, line {number}: {error}") from error
        found.append((number, ListedSource(_absolute(source, path.parent), camera, moment)))
    return found


def _absolute(source: str, folder: Path = Path()) -> str:
    """A path that is the same wherever a worker runs."""
    return source if "://" in source else str((folder / Path(source).expanduser()).resolve())
