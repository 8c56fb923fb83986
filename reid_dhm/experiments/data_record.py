"""A record of the images and labels of a run, so that a resume on changed data is refused."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reid_dhm.data.samples import Sample
from reid_dhm.errors import InputError
from reid_dhm.files import write_text

logger = logging.getLogger(__name__)

Record = dict[str, dict[str, Any]]


def record_data(train: Sequence[Sample], test: Sequence[Sample]) -> Record:
    """Number of images and people, and a digest of files and labels, for both splits.

    Paths count from the folder that the images of a split share, so that a dataset may move.
    """
    return {"train": _summary(train), "test": _summary(test)}


def write_data_record(folder: Path, record: Record) -> None:
    """Write ``data.json`` into a run folder."""
    write_text(folder / "data.json", json.dumps(record, indent=2) + "\n")


def check_data_record(folder: Path, record: Record) -> None:
    """Compare the data of a run with its present data.

    Runs of version 0.1 have no record: a warning is logged.

    Raises:
        InputError: images or labels changed, or the record is damaged.
    """
    path = folder / "data.json"
    if not path.is_file():
        logger.warning("%s has no data.json: its images and labels are not compared", folder)
        return
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        before = {split: dict(stored[split]) for split in record}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(
            f"{path} is damaged ({error}): start again with another output="
        ) from error
    for split, now in record.items():
        if before[split] != now:
            raise InputError(
                f"{folder} was trained on other data: {split} had {before[split].get('images')} "
                f"images of {before[split].get('people')} people, and has {now['images']} of "
                f"{now['people']}, with other files or labels; restore them, or start again with "
                "another output="
            )


def _summary(samples: Sequence[Sample]) -> dict[str, Any]:
    digest = hashlib.sha256()
    parents = {str(sample.path.parent.absolute()) for sample in samples}
    shared = os.path.commonpath(parents) if parents else ""
    for sample in samples:
        path = str(sample.path.absolute())[len(shared) :]
        digest.update(json.dumps([path, sample.pid, sample.camid]).encode())
    people = len({sample.pid for sample in samples})
    return {"images": len(samples), "people": people, "sha256": digest.hexdigest()}
