"""One labelled image, and the three splits of a re-ID dataset."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Sample:
    """One labelled image.

    Attributes:
        path: the image file.
        pid: person id as the dataset numbers it; 0 marks Market-1501's distractors.
        camid: camera id as the dataset numbers it (Market-1501 counts from 1).
        frame: frame number in its video, or ``None`` where the file name does not give it.
    """

    path: Path
    pid: int
    camid: int
    frame: int | None = None


@dataclass(frozen=True, slots=True)
class ReIDDataset:
    """The splits of a re-ID dataset, each in sorted path order.

    ``train`` and ``query``/``gallery`` hold different people; training labels are made from
    ``train`` alone by :func:`label_of_pid`.

    Attributes:
        name: of a published set its name; of a user's own set its path.
    """

    name: str
    train: tuple[Sample, ...]
    query: tuple[Sample, ...]
    gallery: tuple[Sample, ...]


def label_of_pid(samples: Iterable[Sample]) -> dict[int, int]:
    """Map every pid in ``samples`` to a class label 0 … C-1, in ascending pid order."""
    return {pid: label for label, pid in enumerate(sorted({sample.pid for sample in samples}))}
