"""Files that ``reid-dhm export`` wrote: their inputs, outputs and metadata.

:mod:`reid_dhm.inference.export.writer` writes them, the engines run them.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reid_dhm.errors import InputError, UnsupportedError, first_line
from reid_dhm.extras import require
from reid_dhm.inference.engines.external_data import external_files
from reid_dhm.inference.engines.openvino_runtime import read_graph
from reid_dhm.models.card import ModelCard, parse_card

GRAPH_SUFFIXES = (".onnx", ".xml")
METADATA = "reid_dhm"
"""The section of an OpenVINO file's metadata; in an ONNX file, the prefix of every key."""

WEIGHTS = "weights"
"""In an OpenVINO file's metadata: the SHA-256 of the ``.bin`` beside it."""

INPUT = "pictures"
OUTPUTS = ("embeddings", "raw")  # unit rows, and as the model computes them
EMBEDDINGS, RAW = OUTPUTS


@dataclass(frozen=True)
class ExportedModel:
    """A graph in a file, in place of a :class:`~reid_dhm.models.reid.ReIDModel`.

    Attributes:
        path: ``.onnx`` or ``.xml``.
        fingerprint: tells models apart, see :func:`reid_dhm.inference.checkpoints.fingerprint`.
        precision: ``float32`` or ``int8``, what its weights are stored in.
        adapt: loads the graph of a foreign file with the interface of the package's own exports;
            None for a file that has it.
    """

    path: Path
    fingerprint: str
    precision: str
    adapt: Callable[[], Any] | None = None


def open_exported(path: Path) -> tuple[ExportedModel, ModelCard]:
    """Read the metadata of an exported file.

    Raises:
        InputError: a file that cannot be read, or that contradicts its card or its ``.bin``.
    """
    facts, size = _read(path)
    missing = [key for key in ("card", "fingerprint", "precision") if key not in facts]
    if missing:
        raise InputError(f"{path} has no {missing[0]} in its metadata: export the model again")
    card = parse_card(facts["card"], source=path)
    if size != card.size:
        raise InputError(
            f"{path} takes images of {size} (height, width), but its card has "
            f"{card.size}: export the model again"
        )
    # Files of early versions have no digest of their weights.
    if WEIGHTS in facts and facts[WEIGHTS] != file_digest(path.with_suffix(".bin")):
        raise InputError(
            f"{path.with_suffix('.bin').name} contains the weights of another model than {path}: "
            "export the model again"
        )
    return ExportedModel(path, facts["fingerprint"], facts["precision"]), card


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata of an exported file, by key; empty where there is none.

    Raises:
        InputError: a file that cannot be read, or whose reader is not installed.
    """
    return _read(path)[0]


def graph_files(path: Path) -> list[Path]:
    """A graph's file and those with its weights: the ``.bin``, or an ONNX file's external data.

    Raises:
        InputError: a file that cannot be read, or external data outside its folder.
    """
    if path.suffix == ".xml":
        weights = path.with_suffix(".bin")
        return [path, weights] if weights.is_file() else [path]
    return [path, *external_files(_load_onnx(path), path)]


def file_digest(path: Path) -> str:
    """SHA-256 of a file, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


Facts = tuple[dict[str, str], tuple[int, ...]]
"""Metadata, and the height and width of the input; empty where the file leaves them open."""


def _read(path: Path) -> Facts:
    return _of_onnx(path) if path.suffix == ".onnx" else _of_openvino(path)


def _load_onnx(path: Path) -> Any:
    require("onnx", f"reading {path}", "onnx")
    import onnx

    try:
        return onnx.load(path, load_external_data=False)
    except Exception as error:  # what a damaged file makes its parser raise
        raise InputError(
            f"{path} is truncated or not an ONNX file ({first_line(error)}): export the model again"
        ) from error


def _of_onnx(path: Path) -> Facts:
    model = _load_onnx(path)
    external_files(model, path)
    start = f"{METADATA}."
    facts = {
        entry.key.removeprefix(start): entry.value
        for entry in model.metadata_props
        if entry.key.startswith(start)
    }
    shape = [d.dim_value for one in model.graph.input[:1] for d in one.type.tensor_type.shape.dim]
    return facts, tuple(shape[1:3])


def _of_openvino(path: Path) -> Facts:
    if not installed("openvino"):
        raise UnsupportedError(f"reading {path} needs openvino: pip install openvino")
    model = read_graph(path)
    if not model.has_rt_info(METADATA):
        return {}, ()
    facts = model.get_rt_info(METADATA).value.items()
    shape = list(model.inputs[0].partial_shape)[1:3]
    size = tuple(d.get_length() for d in shape if d.is_static)
    return {str(key): str(value) for key, value in facts}, size


def installed(*packages: str) -> bool:
    """Whether all of these packages can be found; none is imported."""
    return all(importlib.util.find_spec(package) is not None for package in packages)
