"""Published datasets: their folders under a data root, and their labels in file names and lists.

A user's own images are :mod:`reid_dhm.data.custom`'s; :mod:`reid_dhm.data.datasets` loads either
by name.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from reid_dhm.data.listing import IMAGE_SUFFIXES, scan_folder, warn_left_out
from reid_dhm.data.samples import Sample
from reid_dhm.errors import InputError, NotFoundError

logger = logging.getLogger(__name__)

Split = Literal["train", "query", "gallery"]
Splits = dict[Split, list[Sample]]
SPLITS: tuple[Split, ...] = ("train", "query", "gallery")

README = "datasets/README.md"
MAX_DIGITS = 18
"""Decimal digits of a pid, camid or frame: labels are int64."""


@dataclass(frozen=True)
class Layout:
    """A dataset with one folder of images per split and its labels in the file names.

    Attributes:
        title: the benchmark's name in messages.
        homes: possible places of its own folder, relative to the data root.
        pattern: matches a file name without its suffixes; groups pid, camid and maybe frame.
        example: a file name that matches.
        published: images and different pids of each split, junk left out; may be empty.
    """

    title: str
    homes: tuple[str, ...]
    pattern: str
    example: str
    published: Mapping[Split, tuple[int, int]]


FOLDERS: dict[Split, str] = {
    "train": "bounding_box_train",
    "query": "query",
    "gallery": "bounding_box_test",
}
MARKET_NAME = r"(?P<pid>-1|\d+)_c(?P<camid>\d+)s\d+_(?P<frame>\d+)_\d+"
MARKET_EXAMPLE = "0002_c1s1_000451_03.jpg"
DUKE_NAME = r"(?P<pid>\d+)_c(?P<camid>\d+)_f(?P<frame>\d+)"
DUKE_EXAMPLE = "0001_c2_f0046182.jpg"
CUHK03_NAME = r"(?P<pid>\d+)_c(?P<camid>\d+)_\d+"
CUHK03_EXAMPLE = "0001_c1_1.png"

# The gallery's 751 pids are 750 people and pid 0, the distractors.
MARKET1501 = Layout(
    title="Market-1501",
    homes=(
        ".",
        "Market-1501-v15.09.15",
        "Market-1501",
        "market1501",
        "market1501/Market-1501-v15.09.15",
    ),
    pattern=MARKET_NAME,
    example=MARKET_EXAMPLE,
    published={"train": (12936, 751), "query": (3368, 750), "gallery": (15913, 751)},
)
SYNTHETIC = Layout(
    title="synthetic people",
    homes=(".", "synthetic"),
    pattern=MARKET_NAME,
    example=MARKET_EXAMPLE,
    published={},
)
DUKEMTMCREID = Layout(
    title="DukeMTMC-reID",
    homes=(".", "DukeMTMC-reID", "dukemtmcreid", "dukemtmc-reid", "dukemtmc-reid/DukeMTMC-reID"),
    pattern=DUKE_NAME,
    example=DUKE_EXAMPLE,
    published={"train": (16522, 702), "query": (2228, 702), "gallery": (17661, 1110)},
)
OCCLUDEDDUKE = Layout(
    title="Occluded-DukeMTMC",
    homes=(".", "Occluded_Duke", "Occluded-DukeMTMC-reID", "occludedduke"),
    pattern=DUKE_NAME,
    example=DUKE_EXAMPLE,
    published={"train": (15618, 702), "query": (2210, 519), "gallery": (17661, 1110)},
)
CUHK03NP = {
    boxes: Layout(
        title=f"CUHK03-NP ({boxes})",
        homes=tuple(
            f"{home}/{boxes}" for home in (".", "CUHK03-NP", "cuhk03-np", "cuhk03np", "cuhk03")
        ),
        pattern=CUHK03_NAME,
        example=CUHK03_EXAMPLE,
        published={"train": (train, 767), "query": (1400, 700), "gallery": (gallery, 700)},
    )
    for boxes, train, gallery in (("detected", 7365, 5332), ("labeled", 7368, 5328))
}

MSMT17_HOMES = (
    ".",
    "MSMT17_V1",
    "MSMT17_V2",
    "MSMT17",
    "msmt17",
    "msmt17/MSMT17_V1",
    "msmt17/MSMT17_V2",
)
MSMT17_FOLDERS: dict[Split, tuple[str, str]] = {  # as in version 1 and in version 2
    "train": ("train", "mask_train_v2"),
    "query": ("test", "mask_test_v2"),
    "gallery": ("test", "mask_test_v2"),
}
MSMT17_NAME = re.compile(r"\d+_\d+_(?P<camid>\d+)_.+")


def load_layout(layout: Layout, root: Path, required: Collection[Split]) -> Splits:
    """Load a dataset whose file names hold its labels; junk (pid -1) is dropped.

    Raises:
        NotFoundError: it is not under ``root``, or lacks a required split's folder.
        InputError: an image has a name that cannot be read.
    """
    home = find_home(layout.title, root, layout.homes, FOLDERS.values())
    splits: Splits = {}
    left_out: list[Path] = []
    for split, name in FOLDERS.items():
        folder = home / name
        if folder.is_dir():
            content = scan_folder(folder)
            samples = (sample_of_name(path, split, layout) for path in content.images)
            splits[split] = [sample for sample in samples if sample.pid >= 0]
            left_out += content.folders + content.others
        elif split in required:
            raise NotFoundError(f"{home} has no folder {name}; unpack it again, see {README}")
        else:
            splits[split] = []
    warn_left_out(home, left_out)
    _compare_with_published(layout.title, home, splits, layout.published)
    return splits


def load_cuhk03np(root: Path, required: Collection[Split], *, boxes: str = "detected") -> Splits:
    """Load CUHK03 in the new protocol (Zhong et al. 2017), with ``detected`` or ``labeled`` boxes.

    Raises:
        InputError: as :func:`load_layout`, or for other ``boxes``.
    """
    if boxes not in CUHK03NP:
        raise InputError(f"boxes={boxes!r} is not in CUHK03-NP; give detected or labeled")
    return load_layout(CUHK03NP[boxes], root, required)


def load_msmt17(root: Path, required: Collection[Split], *, with_val: bool = False) -> Splits:
    """Load MSMT17, version 1 or 2, by its list files; camera ids are in the file names.

    People are numbered from 0 in the training part and again in the test part: here pid 0 is a
    person, there are no distractors. ``with_val`` adds the validation images to the training
    ones (the same people), which results on MSMT17 leave out unless they say otherwise.

    Raises:
        InputError: if it is not under ``root``, lacks a list file or image folder of a required
            split, or a list has a line that cannot be used; or ``with_val`` is not a bool.
    """
    if not isinstance(with_val, bool):
        raise InputError(f"with_val={with_val!r} is neither true nor false; give one of them")
    lists: dict[Split, tuple[str, ...]] = {
        "train": ("list_train.txt", "list_val.txt") if with_val else ("list_train.txt",),
        "query": ("list_query.txt",),
        "gallery": ("list_gallery.txt",),
    }
    marks = [name for names in lists.values() for name in names] + ["mask_train_v2", "mask_test_v2"]
    home = find_home("MSMT17", root, MSMT17_HOMES, marks)
    splits: Splits = {}
    for split, names in lists.items():
        if split not in required and not (home / names[0]).exists():
            splits[split] = []
            continue
        folder = next((home / f for f in MSMT17_FOLDERS[split] if (home / f).is_dir()), None)
        if folder is None:
            one, two = MSMT17_FOLDERS[split]
            raise InputError(
                f"{home} has no folder {one} or {two}; unpack MSMT17 again, see {README}"
            )
        splits[split] = [sample for name in names for sample in _read_list(home / name, folder)]
    train = 30248 + 2373 if with_val else 30248
    published: dict[Split, tuple[int, int]] = {
        "train": (train, 1041),
        "query": (11659, 3060),
        "gallery": (82161, 3060),
    }
    _compare_with_published("MSMT17", home, splits, published)
    return splits


def find_home(title: str, root: Path, homes: Iterable[str], contents: Collection[str]) -> Path:
    """The one folder among ``root / home`` that holds any of ``contents``.

    Raises:
        InputError: if there is none, or several that are different folders.
    """
    places = [root / home for home in homes]
    found = {
        place.resolve(): place
        for place in places
        if any((place / content).exists() for content in contents)
    }
    if not found:
        raise NotFoundError(
            f"{title} was not found: none of {', '.join(map(str, places))} holds any of "
            f"{', '.join(dict.fromkeys(contents))}; {README} says where to get it and how to "
            "lay it out"
        )
    if len(found) > 1:
        raise InputError(
            f"{title} is there several times: {', '.join(map(str, found.values()))}; "
            "give the one to use as the data root"
        )
    return next(iter(found.values()))


def label_fault(pid: int, split: Split) -> str | None:
    """The reason that an image of ``pid`` cannot be in ``split``, or None if it can.

    Junk (negative) in train and gallery is dropped by the loaders; pid 0 marks distractors.
    """
    if pid < 0 and split == "query":
        return f"pid {pid} marks junk, which cannot be a query"
    if pid == 0 and split != "gallery":
        return f"pid 0 marks distractors, which cannot be in {split}; number people from 1"
    return None


def sample_of_name(path: Path, split: Split, layout: Layout) -> Sample:
    """Read an image's labels from its file name.

    Raises:
        InputError: the name does not match the layout, or its pid cannot be in ``split``.
    """
    match = re.match(layout.pattern + r"(\.\w+)+$", path.name, re.ASCII)
    if match is None:
        raise InputError(
            f"{path} is not named like {layout.title}'s images ({layout.example}); "
            "rename it or remove it from the folder"
        )
    if max(map(len, match.groupdict().values())) > MAX_DIGITS:
        raise InputError(f"{path}: a number in its name has over {MAX_DIGITS} digits; rename it")
    labels = {name: int(value) for name, value in match.groupdict().items()}
    fault = label_fault(labels["pid"], split)
    if fault:
        raise InputError(f"{path} cannot be used: {fault}; remove it from the folder")
    return Sample(path, **labels)


def _read_list(file: Path, folder: Path) -> list[Sample]:
    """Samples of one MSMT17 list file; a line is the path of an image in ``folder`` and its pid."""
    if not file.is_file():
        raise NotFoundError(f"{file} does not exist; unpack MSMT17 again, see {README}")
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise InputError(f"{file} cannot be read ({reason}); take it from MSMT17 itself") from error
    samples: dict[Path, Sample] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        name, _, pid = line.strip().rpartition(" ")
        path = folder / name
        camera = MSMT17_NAME.fullmatch(path.name)
        numbers = (pid, camera["camid"] if camera else "")
        if (
            not all(part.isdecimal() and len(part) <= MAX_DIGITS for part in numbers)
            or path.suffix.lower() not in IMAGE_SUFFIXES
        ):
            raise InputError(
                f"{file}, line {number}: {line.strip()[:80]!r} is not like "
                "'0000/0000_000_01_0303morning_0008_0.jpg 0'; take the list from MSMT17 itself"
            )
        if path in samples:
            raise InputError(f"{file}, line {number}: {name} is listed twice; remove one line")
        if not path.is_file():
            raise NotFoundError(
                f"{file}, line {number}: {path} does not exist; unpack MSMT17 again or remove "
                "the line"
            )
        samples[path] = Sample(path, *map(int, numbers))
    return list(samples.values())


def _compare_with_published(
    title: str, home: Path, splits: Splits, published: Mapping[Split, tuple[int, int]]
) -> None:
    for split, (images, people) in published.items():
        found = (len(splits[split]), len({sample.pid for sample in splits[split]}))
        if splits[split] and found != (images, people):
            logger.warning(
                "%s in %s: %s has %d images of %d people, published are %d of %d; "
                "figures will not compare with others'",
                *(title, home, split, *found, images, people),
            )
