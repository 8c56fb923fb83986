"""Datasets by name, and several joined into one.

Layouts and labels are read in :mod:`reid_dhm.data.layouts` and :mod:`reid_dhm.data.custom`;
:func:`reid_dhm.data.images.check_images` checks that the images can be read.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from reid_dhm.data.custom import find_csv, load_csv, load_folder
from reid_dhm.data.layouts import (
    DUKEMTMCREID,
    OCCLUDEDDUKE,
    SPLITS,
    SYNTHETIC,
    Split,
    Splits,
    load_cuhk03np,
    load_layout,
    load_msmt17,
)
from reid_dhm.data.listing import check_name
from reid_dhm.data.market1501 import load_market1501
from reid_dhm.data.samples import ReIDDataset, Sample
from reid_dhm.errors import InputError, NotFoundError

LOADERS: dict[str, Callable[..., Splits]] = {
    "market1501": load_market1501,
    "dukemtmcreid": partial(load_layout, DUKEMTMCREID),
    "msmt17": load_msmt17,
    "cuhk03np": load_cuhk03np,
    "occludedduke": partial(load_layout, OCCLUDEDDUKE),
    "folder": load_folder,
    "csv": load_csv,
    "synthetic": partial(load_layout, SYNTHETIC),
}


def load_dataset(
    name: str, root: Path | str, required: Collection[Split] = SPLITS, /, **options: Any
) -> ReIDDataset:
    """Load the dataset ``name`` of :data:`LOADERS` from a data root.

    Junk (pid -1) is left out, distractors (pid 0) stay in the gallery; pids and camids are the
    dataset's own. Splits are in sorted path order on every machine.

    Args:
        name: a key of :data:`LOADERS`.
        root: for a published set the folder that holds the set's own folder, or that folder, or a
            torchreid data root; for ``folder`` and ``csv`` see ``datasets/README.md``.
        required: the splits that must exist; others may be missing and are then empty.
        options: the loader's own: ``queries`` (market1501), ``boxes`` (cuhk03np), ``with_val``
            (msmt17), ``camera_regex`` (folder).

    Raises:
        NotFoundError: the dataset or a required split is not found, or a link is dead.
        InputError: the name or an option is unknown, a required split is empty, or a file name,
            list or table has an entry that cannot be used.
    """
    if name not in LOADERS:
        raise InputError(f"dataset {name!r} is unknown; give one of {', '.join(LOADERS)}")
    load, root = LOADERS[name], Path(root).expanduser()
    check_name(root)
    try:
        inspect.signature(load).bind(root, required, **options)
    except TypeError as error:
        raise InputError(f"dataset {name} cannot be loaded: {error}; leave it out") from None
    if not root.exists():
        raise NotFoundError(
            f"data root {root} does not exist; datasets/README.md describes its layout"
        )
    splits = load(root, required, **options)
    for split in SPLITS:
        if split in required and not splits[split]:
            raise InputError(
                f"dataset {name} in {root} has no {split} images; add some, or unpack it again"
            )
    if name in ("folder", "csv"):  # a user's own set has the name of its path
        name = str((find_csv(root) if name == "csv" else root).resolve())
    return ReIDDataset(name, **{split: _sorted(splits[split]) for split in SPLITS})


def join_datasets(datasets: Sequence[ReIDDataset]) -> ReIDDataset:
    """Join datasets, split by split, as if they were one recording of different people.

    Each dataset's pids and camids are offset past those of the datasets before it, so that no two
    datasets share any; the first keeps its numbers. Distractors (pid 0 where no training or query
    image has it) stay pid 0. A dataset that has a person 0 (MSMT17) is offset by at least 1.

    Raises:
        InputError: no datasets, or two that hold the same image.
    """
    if not datasets:
        raise InputError("no dataset was given to join; name at least one")
    joined: dict[Split, list[Sample]] = {split: [] for split in SPLITS}
    seen: set[Path] = set()
    last_pid, last_camid = 0, -1
    for dataset in datasets:
        everything = [*dataset.train, *dataset.query, *dataset.gallery]
        paths = {sample.path for sample in everything}
        if paths & seen:
            raise InputError(f"{min(paths & seen)} is in two of the joined datasets; drop one")
        seen |= paths
        people = {sample.pid for sample in (*dataset.train, *dataset.query)}
        people |= {sample.pid for sample in dataset.gallery if sample.pid > 0}
        pid_of = _moved_past(last_pid, people)
        camid_of = _moved_past(last_camid, {sample.camid for sample in everything})
        for split in SPLITS:
            joined[split] += [
                replace(s, pid=pid_of.get(s.pid, s.pid), camid=camid_of[s.camid])
                for s in getattr(dataset, split)
            ]
        last_pid = max(pid_of.values(), default=last_pid)
        last_camid = max(camid_of.values(), default=last_camid)
    name = "+".join(dataset.name for dataset in datasets)
    return ReIDDataset(name, **{split: _sorted(joined[split]) for split in SPLITS})


def _moved_past(last: int, numbers: Collection[int]) -> dict[int, int]:
    """Each number plus the least offset that puts all of them past ``last``."""
    offset = max(0, last + 1 - min(numbers, default=0))
    return {number: number + offset for number in numbers}


def _sorted(samples: Iterable[Sample]) -> tuple[Sample, ...]:
    return tuple(sorted(samples, key=lambda sample: sample.path.as_posix()))
