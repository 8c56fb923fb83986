"""A run folder: the best weights, ``metrics.jsonl``, TensorBoard logs, ``environment.json``.

The state to resume from is :mod:`reid_dhm.training.state`'s.
"""

from __future__ import annotations

import json
import logging
import platform
import sys
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch.utils.tensorboard import SummaryWriter

from reid_dhm.files import write_text
from reid_dhm.models.card import ModelCard, save_model
from reid_dhm.models.reid import ReIDModel
from reid_dhm.version import __version__

logger = logging.getLogger(__name__)

_PACKAGES = ("torch", "torchvision", "torchreid", "accelerate", "numpy", "opencv-python", "scipy")


@dataclass(frozen=True)
class RunFolder:
    """Where a training keeps its results.

    Attributes:
        path: the folder.
        card: how the model is built and fed; written beside the best weights.
        keep_branches: whether the best weights keep the branches (``test.ensemble``).
    """

    path: Path
    card: ModelCard
    keep_branches: bool = False

    def save_best(self, model: ReIDModel, figures: dict[str, float]) -> None:
        """Replace ``best.safetensors`` and its card, which notes the figures."""
        card = replace(
            self.card,
            branches=self.card.branches if self.keep_branches else (),
            training={**self.card.training, **figures},
        )
        kept = model.deploy(self.keep_branches)
        save_model(kept, card, self.path / "best.safetensors")


def environment() -> dict[str, Any]:
    """Versions and hardware that results depend on."""
    versions = {}
    for package in (*_PACKAGES, "faiss-gpu", "faiss-cpu"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    cuda = torch.cuda.is_available()
    return {
        "reid_dhm": __version__,
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "packages": versions,
        "threads": torch.get_num_threads(),
        "cuda": torch.version.cuda if cuda else None,
        "cudnn": torch.backends.cudnn.version() if cuda else None,
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        if cuda
        else [],
    }


def record_environment(folder: Path, processes: int, resumed: bool) -> None:
    """Write ``environment.json``; a resumed run adds its environment to the list ``resumed``."""
    path = folder / "environment.json"
    now = {**environment(), "processes": processes, "command": sys.argv}
    if resumed and path.is_file():
        try:
            first = json.loads(path.read_bytes())
            now = {**first, "resumed": [*first.get("resumed", []), now]}
        except (ValueError, RecursionError, AttributeError, TypeError):
            logger.warning("%s is damaged: it is written again", path)
    write_text(path, json.dumps(now, indent=2) + "\n")


class RunLog:
    """Writes one record per epoch to ``metrics.jsonl`` and TensorBoard.

    Args:
        folder: the run folder.
        last_epoch: records after this epoch belong to an interrupted run and are dropped.
        silent: write nothing (all processes except the first).
    """

    def __init__(self, folder: Path, last_epoch: int = -1, silent: bool = False) -> None:
        self.path = folder / "metrics.jsonl"
        self.silent = silent
        if silent:
            return
        folder.mkdir(parents=True, exist_ok=True)
        kept = [record for record in read_metrics(folder) if record["epoch"] <= last_epoch]
        write_text(self.path, "".join(json.dumps(record) + "\n" for record in kept))
        self.board = SummaryWriter(str(folder / "tensorboard"), purge_step=last_epoch + 1)

    def write(self, record: dict[str, Any]) -> None:
        """Append one epoch's record; numbers also go to TensorBoard."""
        if self.silent:
            return
        with self.path.open("a") as file:
            file.write(json.dumps(record) + "\n")
        for name, value in record.items():
            if isinstance(value, (int, float)) and name != "epoch":
                self.board.add_scalar(name, value, record["epoch"])
        self.board.flush()

    def close(self) -> None:
        """Close TensorBoard's file."""
        if not self.silent:
            self.board.close()


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The records of a run, oldest first; a line cut off by a kill is left out with a warning."""
    path = folder / "metrics.jsonl"
    lines = path.read_bytes().splitlines() if path.is_file() else []
    records = [record for line in lines if (record := _parse_record(line)) is not None]
    if len(records) < len(lines):
        logger.warning("%s: %d damaged lines are left out", path, len(lines) - len(records))
    return records


def _parse_record(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and isinstance(record.get("epoch"), int) else None
