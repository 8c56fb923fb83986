"""A user's own images as a dataset: a folder per person, or a CSV file of labelled paths."""

from __future__ import annotations

import csv
import logging
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from reid_dhm.data.layouts import MAX_DIGITS, README, SPLITS, Split, Splits, label_fault
from reid_dhm.data.listing import scan_folder, warn_left_out
from reid_dhm.data.samples import Sample
from reid_dhm.errors import InputError, NotFoundError

logger = logging.getLogger(__name__)

CAMERA_REGEX = r"(?:^|_)c(?P<camid>\d+)"
COLUMNS = ("path", "pid", "camid", "split")


def load_folder(
    root: Path, required: Collection[Split], *, camera_regex: str = CAMERA_REGEX
) -> Splits:
    """Load ``root/{train,query,gallery}/PERSON/IMAGE``.

    People are numbered from 1 in the sorted order of their folders' names over all splits; the same
    name is the same person everywhere. Cameras keep their numbers if all captured cameras are
    numbers; otherwise they are numbered from 1 in sorted order.

    Args:
        root: the folder that holds the splits.
        required: splits whose folder must exist.
        camera_regex: searched in every file name; its group ``camid``, or else its first, captures
            the camera. The default finds the 2 in ``c2_0001.jpg`` and ``anna_c2_0001.jpg``.

    Raises:
        NotFoundError: a required folder is missing, or a link is dead.
        InputError: an image lies outside the folders of people, or the expression is invalid or
            does not match a file name.
    """
    pattern = _camera_pattern(camera_regex)
    found: list[tuple[Split, str, Path, str]] = []
    left_out: list[Path] = []
    for split in SPLITS:
        for folder in _people(root / split, split in required, left_out):
            content = scan_folder(folder)
            found += [(split, folder.name, i, _camera_of(i, pattern)) for i in content.images]
            # a person without an image would otherwise vanish
            left_out += content.folders + content.others + ([] if content.images else [folder])
    warn_left_out(root, left_out)
    names = sorted({person for _, person, _, _ in found})
    pid_of = {name: pid for pid, name in enumerate(names, start=1)}
    camid_of = _number_cameras({camera for _, _, _, camera in found})
    splits: Splits = {split: [] for split in SPLITS}
    for split, person, image, camera in found:
        splits[split].append(Sample(image, pid_of[person], camid_of[camera]))
    _warn_of_overlap(root, splits)
    return splits


def load_csv(root: Path, required: Collection[Split]) -> Splits:
    """Load a CSV file (UTF-8) with a header and the columns path, pid, camid and split.

    Paths are relative to the file's folder; split is train, query or gallery; pids count from 1.
    In the gallery pid 0 marks a distractor and a negative pid junk, which is dropped. Other columns
    are ignored.

    Args:
        root: the file, or a folder with exactly one ``.csv`` file.
        required: not used; an absent split is empty.

    Raises:
        InputError: naming the file and the line that cannot be used.
    """
    file = find_csv(root)
    splits: Splits = {split: [] for split in SPLITS}
    lines: dict[tuple[Split, Path], int] = {}
    for line, row in _rows(file):
        where = f"{file}, line {line}"
        split = next((split for split in SPLITS if split == row["split"]), None)
        if split is None:
            raise InputError(
                f"{where}: split is {row['split'][:80]!r}; give one of {', '.join(SPLITS)}"
            )
        pid, camid = (_integer(row[column], column, where) for column in ("pid", "camid"))
        fault = label_fault(pid, split)
        if fault:
            raise InputError(f"{where}: {fault}")
        if camid < 0:
            raise InputError(f"{where}: camid is {camid}; number cameras from 0 or 1")
        path = file.parent / row["path"]
        if not row["path"] or not _is_file(path):
            raise NotFoundError(
                f"{where}: {str(path)[:300]} is not a file; paths are relative to {file.parent}"
            )
        first = lines.setdefault((split, path), line)
        if first != line:
            raise InputError(f"{where}: {path} is in {split} already, line {first}; remove one")
        if pid >= 0:
            splits[split].append(Sample(path, pid, camid))
    _warn_of_overlap(file, splits)
    return splits


def _people(folder: Path, required: bool, left_out: list[Path]) -> list[Path]:
    """The folders of people in one split's folder, in name order; adds other files to a list."""
    if not folder.is_dir():
        if required:
            raise NotFoundError(
                f"{folder} is not a folder; create it, with a folder per person, as in {README}"
            )
        return []
    content = scan_folder(folder)
    if content.images:
        raise InputError(f"{content.images[0]} is not in a person's folder; move it into one")
    left_out += content.others
    return content.folders


def _camera_pattern(camera_regex: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(camera_regex)
    except (re.error, TypeError) as error:  # TypeError: YAML reads 1 as a number
        raise InputError(
            f"camera_regex={camera_regex!r} is not a regular expression: {error}"
        ) from None
    if not pattern.groups:
        raise InputError(
            f"camera_regex={camera_regex!r} has no group; put the camera's part in brackets"
        )
    return pattern


def _camera_of(image: Path, pattern: re.Pattern[str]) -> str:
    match = pattern.search(image.name)
    camera = match["camid" if "camid" in pattern.groupindex else 1] if match else None
    if not camera:
        raise InputError(
            f"camera_regex={pattern.pattern!r} finds no camera in the name of {image}; rename it "
            "or give another camera_regex"
        )
    return camera


def _number_cameras(cameras: set[str]) -> dict[str, int]:
    if all(camera.isdecimal() and len(camera) <= MAX_DIGITS for camera in cameras):
        return {camera: int(camera) for camera in cameras}
    return {camera: camid for camid, camera in enumerate(sorted(cameras), start=1)}


def find_csv(root: Path) -> Path:
    """The CSV file of a dataset: ``root``, or the only ``.csv`` file in it.

    Raises:
        InputError: none, or several.
    """
    if root.is_file():
        return root
    files = sorted(root.glob("*.csv")) if root.is_dir() else []
    if len(files) != 1:
        found = ", ".join(file.name for file in files) or "none"
        raise InputError(
            f"{root} is neither a CSV file nor a folder with exactly one (found: {found}); give "
            f"the file itself, its format is in {README}"
        )
    return files[0]


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name too long, or with a NUL
        return False


def _rows(file: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and stripped values of each row; spreadsheets' byte order mark is skipped."""
    reader = None
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            # strict: a stray quote would otherwise swallow the lines up to the next one
            reader = csv.DictReader(stream, skipinitialspace=True, strict=True)
            header = [(name or "").strip() for name in reader.fieldnames or ()]
            missing = [column for column in COLUMNS if column not in header]
            if missing:
                raise InputError(
                    f"{file} has no column {', '.join(missing)} (found: {', '.join(header)}); "
                    f"its first line must be {','.join(COLUMNS)}"
                )
            reader.fieldnames = header
            for row in reader:
                yield reader.line_num, {column: (row[column] or "").strip() for column in COLUMNS}
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not UTF-8 text ({error.reason}); save it as UTF-8") from None
    except OSError as error:
        raise InputError(f"{file} cannot be read ({error.strerror}); check its rights") from None
    except csv.Error as error:
        line = 1 + (reader.line_num if reader is not None else 0)  # of the row's beginning
        raise InputError(f"{file}, line {line}: not CSV ({error}); check its quotes") from None


def _integer(value: str, column: str, where: str) -> int:
    if re.fullmatch(rf"[+-]?[0-9]{{1,{MAX_DIGITS}}}", value) is None:
        raise InputError(
            f"{where}: {column} is {value[:40]!r}; give a whole number of up to {MAX_DIGITS} digits"
        )
    return int(value)


def _warn_of_overlap(source: Path, splits: Splits) -> None:
    trained = {sample.pid for sample in splits["train"]}
    tested = {sample.pid for split in ("query", "gallery") for sample in splits[split]}
    if trained & tested:
        logger.warning(
            "%s: %d people are in train and in query or gallery (first: pid %d); figures on "
            "people seen in training say nothing about new ones",
            *(source, len(trained & tested), min(trained & tested)),
        )
