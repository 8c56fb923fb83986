"""A folder per class: the layout of category recognition sets, for ``task: classification``."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from reid_dhm.data.images import list_images
from reid_dhm.data.samples import Sample
from reid_dhm.errors import InputError


class ClassificationDataset(NamedTuple):
    """Images whose ``pid`` is the number of their class; ``camid`` means nothing here."""

    classes: tuple[str, ...]
    train: tuple[Sample, ...]
    test: tuple[Sample, ...]


def load_classification(root: Path | str) -> ClassificationDataset:
    """Load ``root/train/CLASS/IMAGE`` and ``root/val`` (or ``test``) likewise.

    Classes are numbered from 0 in the sorted order of the training folders' names.

    Raises:
        InputError: a split is missing or empty, a class has no training images.
    """
    root = Path(root)
    train, test = root / "train", root / "val"
    if not test.is_dir():
        test = root / "test"
    for folder in (train, test):
        if not folder.is_dir():
            raise InputError(
                f"{folder} does not exist: put a folder per class under train/ and val/ in {root}"
            )
    classes = tuple(sorted(path.name for path in train.iterdir() if path.is_dir()))
    dataset = ClassificationDataset(classes, _samples(train, classes), _samples(test, classes))
    trained = {sample.pid for sample in dataset.train}
    for label, name in enumerate(classes):
        if label not in trained:
            raise InputError(f"{train / name} holds no images: add some or remove the class")
    return dataset


def _samples(split: Path, classes: tuple[str, ...]) -> tuple[Sample, ...]:
    samples = []
    for folder in sorted(path for path in split.iterdir() if path.is_dir()):
        if folder.name not in classes:
            raise InputError(f"{folder} is a class without training images: add or remove it")
        label = classes.index(folder.name)
        samples += [Sample(path, pid=label, camid=0) for path in list_images(folder)]
    if not samples:
        raise InputError(f"{split} holds no images in folders of classes: add some")
    return tuple(samples)
