"""A person's own images as a dataset: a folder per person, or a CSV file of labelled paths."""

from __future__ import annotations

import csv
import logging
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from reid_dhm.data.images import list_images
from reid_dhm.data.layouts import README, SPLITS, Split, Splits, label_fault
from reid_dhm.data.samples import Sample
from reid_dhm.errors import InputError

logger = logging.getLogger(__name__)

CAMERA_REGEX = r"(?:^|_)c(?P<camid>\d+)"
COLUMNS = ("path", "pid", "camid", "split")


def load_folder(
    root: Path, required: Collection[Split], *, camera_regex: str = CAMERA_REGEX
) -> Splits:
    """Load ``root/{train,query,gallery}/PERSON/IMAGE``.

    People are numbered from 1 in the sorted order of their folders' names over all splits; the same
    name is the same person everywhere. Cameras keep their number where every captured camera is a
    number, and are numbered from 1 in sorted order where any is not.

    Args:
        root: the folder that holds the splits.
        required: splits whose folder must be there.
        camera_regex: searched in every file name; its group ``camid``, or else its first, captures
            the camera. The default finds the 2 in ``c2_0001.jpg`` and ``anna_c2_0001.jpg``.

    Raises:
        InputError: if a required folder is missing, an image lies outside the folders of people,
            or the expression is invalid or does not match a file name.
    """
    pattern = _camera_pattern(camera_regex)
    found = [
        (split, person.name, image, _camera_of(image, pattern))
        for split in SPLITS
        for person in _people(root / split, required=split in required)
        for image in list_images(person)
    ]
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

    Paths are relative to the file's folder; split is train, query or gallery; pid counts from 1,
    where 0 in a gallery marks a distractor and a negative one junk, which is dropped; other
    columns are ignored.

    Args:
        root: the file, or a folder with exactly one ``.csv`` file.
        required: not used here; an absent split is empty.

    Raises:
        InputError: naming file and line of what cannot be used.
    """
    file = _csv_file(root)
    splits: Splits = {split: [] for split in SPLITS}
    lines: dict[tuple[Split, Path], int] = {}
    for line, row in _rows(file):
        where = f"{file}, line {line}"
        split = next((split for split in SPLITS if split == row["split"]), None)
        if split is None:
            raise InputError(f"{where}: split is {row['split']!r}; give one of {', '.join(SPLITS)}")
        pid, camid = (_integer(row[column], column, where) for column in ("pid", "camid"))
        fault = label_fault(pid, split)
        if fault:
            raise InputError(f"{where}: {fault}")
        if camid < 0:
            raise InputError(f"{where}: camid is {camid}; number cameras from 0 or 1")
        path = file.parent / row["path"]
        if not row["path"] or not path.is_file():
            raise InputError(f"{where}: {path} is not a file; paths are relative to {file.parent}")
        first = lines.setdefault((split, path), line)
        if first != line:
            raise InputError(f"{where}: {path} is in {split} already, by line {first}; remove one")
        if pid >= 0:
            splits[split].append(Sample(path, pid, camid))
    _warn_of_overlap(file, splits)
    return splits


def _people(folder: Path, required: bool) -> list[Path]:
    """The folders of people in one split's folder, in name order."""
    if not folder.is_dir():
        if required:
            raise InputError(
                f"{folder} is not a folder; give it, with a folder per person, as in {README}"
            )
        return []
    strays = list_images(folder)
    if strays:
        raise InputError(f"{strays[0]} is in no person's folder; move it into one")
    people = (path for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")
    return sorted(people, key=lambda path: path.name)


def _camera_pattern(camera_regex: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(camera_regex)
    except (re.error, TypeError) as error:  # TypeError: YAML reads 1 as a number
        raise InputError(
            f"camera_regex={camera_regex!r} is no regular expression: {error}"
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
            f"{image} names no camera that camera_regex={pattern.pattern!r} finds; rename it or "
            "give another camera_regex"
        )
    return camera


def _number_cameras(cameras: set[str]) -> dict[str, int]:
    if all(camera.isdecimal() for camera in cameras):
        return {camera: int(camera) for camera in cameras}
    return {camera: camid for camid, camera in enumerate(sorted(cameras), start=1)}


def _csv_file(root: Path) -> Path:
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


def _rows(file: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and stripped values of each row; spreadsheets' byte order mark is skipped."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, skipinitialspace=True)
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


def _integer(value: str, column: str, where: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise InputError(f"{where}: {column} is {value!r}; give a whole number") from None


def _warn_of_overlap(source: Path, splits: Splits) -> None:
    trained = {sample.pid for sample in splits["train"]}
    tested = {sample.pid for split in ("query", "gallery") for sample in splits[split]}
    if trained & tested:
        logger.warning(
            "%s: %d people are in train and in query or gallery (first: pid %d); figures on "
            "people seen in training say nothing about new ones",
            *(source, len(trained & tested), min(trained & tested)),
        )
