"""Images in a folder per class, for ``task: classification``."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from reid_dhm.data.listing import check_name, scan_folder, warn_left_out
from reid_dhm.data.samples import Sample
from reid_dhm.errors import InputError, NotFoundError


class ClassificationDataset(NamedTuple):
    """Images whose ``pid`` is the number of their class; ``camid`` is not used."""

    classes: tuple[str, ...]
    train: tuple[Sample, ...]
    test: tuple[Sample, ...]


def load_classification(root: Path | str) -> ClassificationDataset:
    """Load ``root/train/CLASS/IMAGE`` and ``root/val`` (or ``test``) likewise.

    Classes are numbered from 0 in the sorted order of the training folders' names.

    Raises:
        NotFoundError: a split is missing.
        InputError: a split is empty, or a class has no training images.
    """
    root = Path(root).expanduser()
    check_name(root)
    train, test = root / "train", root / "val"
    if not test.is_dir():
        test = root / "test"
    for folder in (train, test):
        if not folder.is_dir():
            raise NotFoundError(
                f"{folder} does not exist: put a folder per class under train/ and val/ in {root}"
            )
    classes = tuple(path.name for path in scan_folder(train).folders)
    dataset = ClassificationDataset(classes, _samples(train, classes), _samples(test, classes))
    trained = {sample.pid for sample in dataset.train}
    for label, name in enumerate(classes):
        if label not in trained:
            raise InputError(f"{train / name} holds no images: add some or remove the class")
    return dataset


def _samples(split: Path, classes: tuple[str, ...]) -> tuple[Sample, ...]:
    samples = []
    content = scan_folder(split)
    left_out = content.images + content.others
    for folder in content.folders:
        if folder.name not in classes:
            raise InputError(f"{folder} is a class without training images: add or remove it")
        label = classes.index(folder.name)
        inside = scan_folder(folder)
        samples += [Sample(path, pid=label, camid=0) for path in inside.images]
        left_out += inside.folders + inside.others
    warn_left_out(split, left_out)
    if not samples:
        raise InputError(f"{split} holds no images in folders of classes: add some")
    return tuple(samples)
