"""Exported graphs of checkpoints, kept beside the model zoo so that PyTorch need not be loaded.

A graph is compared with eager PyTorch in float32 before it is kept, exactly as
``reid-dhm export`` does, and serves only the weights, libraries and CPU that it was made with.
Losing the cache costs time alone.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import os
import platform
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from reid_dhm.devices import runs_on_cpu
from reid_dhm.errors import ReidError
from reid_dhm.files import temporary_folder
from reid_dhm.inference.cache_folder import graphs_folder
from reid_dhm.inference.checkpoint_file import CheckpointFile
from reid_dhm.inference.engines.exported import (
    ExportedModel,
    file_digest,
    installed,
    open_exported,
)
from reid_dhm.inference.engines.options import EngineOptions
from reid_dhm.inference.engines.selection import available
from reid_dhm.inference.graphs import open_graph
from reid_dhm.models.card import ModelCard, card_path
from reid_dhm.version import __version__

if TYPE_CHECKING:
    from reid_dhm.models.reid import ReIDModel

logger = logging.getLogger(__name__)

_FORMAT = "1"  # changes when the exported graph of the same weights does
_LIBRARIES = ("torch", "onnx", "onnxruntime", "openvino", "numpy")
_LARGEST = 512 << 20  # bytes of all graphs together


def open_or_export(
    file: CheckpointFile, options: EngineOptions
) -> tuple[ReIDModel | ExportedModel, ModelCard]:
    """The graph of a checkpoint where one can run it, else its model in PyTorch.

    Raises:
        InputError: as :func:`~reid_dhm.inference.checkpoints.open_checkpoint`.
    """
    if file.kind == "graph":
        return open_graph(file)
    folder = graphs_folder() if _may_use_graph(file, options) else None
    key = None if folder is None else _key(file)
    if folder is not None and key is not None and (found := _find(folder, key)):
        return found
    from reid_dhm.inference.checkpoints import open_checkpoint

    model, card = open_checkpoint(file)
    if folder is not None and key is not None and (made := _export(folder, key, model, card)):
        return made
    return model, card


def _may_use_graph(file: CheckpointFile, options: EngineOptions) -> bool:
    if options.compiled or not runs_on_cpu(options.device):
        return False
    if options.engine == "torch" or not installed("onnx"):
        return False
    precisions = [precision for _, precision in available("cpu", options.engine, of_a_file=True)]
    return "float32" in precisions and options.precision in ("auto", *precisions)


def _key(file: CheckpointFile) -> str | None:
    """SHA-256 of everything that a graph and its check depend on; None for an unreadable file."""
    read = [file.path, card_path(file.path)] if file.kind == "card" else [file.path]
    try:
        digests = [file_digest(path) for path in read]
    except OSError:  # opening the checkpoint reports it
        return None
    facts = {
        "format": _FORMAT,
        "files": digests,
        "options": (file.backbone, file.size, file.neck),
        "versions": [__version__, *map(_version, _LIBRARIES)],
        "cpu": (platform.machine(), _cpu_flags()),
    }
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _version(library: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:  # missing, or under another name (onnxruntime-gpu)
        return str(importlib.util.find_spec(library))


def _cpu_flags() -> str:
    try:
        with Path("/proc/cpuinfo").open() as file:
            return next((line for line in file if line.startswith(("flags", "Features"))), "")
    except OSError:
        return platform.processor()


def _find(folder: Path, key: str) -> tuple[ExportedModel, ModelCard] | None:
    """A graph of the cache, unless it is missing or damaged."""
    for path in folder.glob(f"{key}-*.onnx"):
        try:
            if not path.is_symlink() and path.stem == f"{key}-{file_digest(path)}":
                os.utime(path)
                return open_exported(path)
            path.unlink()
        except (OSError, ReidError) as error:
            logger.debug("%s is not used: %s", path, error)
    return None


def _export(
    folder: Path, key: str, model: ReIDModel | ExportedModel, card: ModelCard
) -> tuple[ExportedModel, ModelCard] | None:
    from reid_dhm.inference.export.writer import export_model

    try:
        with temporary_folder(folder, "graph") as new:
            written = new / "model.onnx"
            export_model(model, card, "onnx", written)
            path = folder / f"{key}-{file_digest(written)}.onnx"
            written.replace(path)
        _prune(folder)
        return open_exported(path)
    except Exception as error:  # whatever exporters raise: PyTorch runs the model instead
        logger.debug("the graph is not cached: %s", error)
        return None


def _prune(folder: Path) -> None:
    """Remove the graphs that were not used for longest; the newest stays, whatever its size."""
    graphs = []
    for path in folder.glob("*.onnx"):
        with suppress(FileNotFoundError):  # another process removed it
            facts = path.stat()
            graphs.append((facts.st_mtime_ns, facts.st_size, path))
    graphs.sort(reverse=True)
    total = sum(size for _, size, _ in graphs[:1])
    for _, size, path in graphs[1:]:
        total += size
        if total > _LARGEST:
            path.unlink(missing_ok=True)
