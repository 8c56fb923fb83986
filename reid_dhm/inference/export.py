"""Writing a model for other programs, and proving that what was written gives its embeddings.

A file takes uint8 RGB pictures (N, H, W, 3) and gives (N, D) float32 unit rows. It appears whole
and verified, or not at all.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from reid_dhm import __version__
from reid_dhm.errors import InputError
from reid_dhm.inference.checkpoints import fingerprint, what_embeds
from reid_dhm.inference.engines import AGREEMENT, cosines
from reid_dhm.inference.exported import METADATA, ExportedModel
from reid_dhm.inference.network import DeployedNetwork, example_pictures, installed, onnx_graph
from reid_dhm.inference.quantisation import quantise_onnx, quantise_openvino
from reid_dhm.inference.reading import Picture, read_batches
from reid_dhm.inference.torch_engine import TorchEngine
from reid_dhm.models.card import ModelCard, load_model, save_model
from reid_dhm.models.reid import ReIDModel

SUFFIXES = {
    "onnx": ".onnx",
    "openvino": ".xml",
    "torchscript": ".pt",
    "safetensors": ".safetensors",
}
"""Formats, and how their files must end so that they are known again."""

INT8_AGREEMENT = 0.99
_RANDOM = 16  # made-up pictures that every file is verified on

Run = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Agreement:
    """How a written file's embeddings agree with eager PyTorch's in float32.

    Attributes:
        pictures: ``random`` or ``real``.
        count: how many there were.
        lowest: of their cosines.
        mean: of their cosines.
    """

    pictures: str
    count: int
    lowest: float
    mean: float


def export_model(
    model: ReIDModel | ExportedModel,
    card: ModelCard,
    format: str,
    output: Path,
    pictures: Sequence[Picture] = (),
    calibration: Sequence[Picture] = (),
) -> list[Agreement]:
    """Write what of a model embeds: the main path, or the ensemble where its card asks for it.

    Args:
        model: of a checkpoint, in eval mode.
        card: its card.
        format: a key of :data:`SUFFIXES`; ``safetensors`` is weights with a card, for reid-dhm.
        output: the file, ending as its format does; OpenVINO writes a ``.bin`` beside it, and
            weights their card.
        pictures: real ones to verify it with, beside random ones.
        calibration: real ones to quantise it to int8 with (``onnx`` and ``openvino``); none for
            float32.

    Returns:
        How the file agrees on random pictures, and on the real ones if there are any.

    Raises:
        InputError: what is no model to be exported, a package that is missing, or embeddings that
            do not agree (cosine below 0.999, for int8 below 0.99).
    """
    _refuse(model, format, output, bool(calibration))
    chosen = what_embeds(model, card)
    assert isinstance(chosen, ReIDModel)
    if card.embedding == "main":
        card = replace(card, branches=())
    sample = _read(calibration, card)
    facts = _metadata(chosen, card, format, sample)
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=output.parent) as folder:
        partial = Path(folder) / output.name
        run = _WRITERS[format](chosen, card, partial, facts, sample)
        limit = INT8_AGREEMENT if len(sample) else AGREEMENT
        found = _verify(run, chosen, card, _read(pictures, card))
        for agreement in found:
            if not agreement.lowest >= limit:
                raise InputError(
                    f"{output} is not kept: on {agreement.count} {agreement.pictures} pictures "
                    f"its embeddings differ from PyTorch's (lowest cosine {agreement.lowest:.4f}, "
                    f"{limit} is asked for); "
                    + ("export it without int8" if len(sample) else "choose another format")
                )
        beside = [path for path in Path(folder).iterdir() if path != partial]
        for path in (*beside, partial):
            path.replace(output.with_name(path.name))
    return found


def _refuse(model: ReIDModel | ExportedModel, format: str, output: Path, int8: bool) -> None:
    if format not in SUFFIXES:
        raise InputError(f"format {format!r} is unknown: use {', '.join(SUFFIXES)}")
    if isinstance(model, ExportedModel):
        raise InputError(f"{model.path} is exported already: give the checkpoint it was made from")
    if output.suffix != SUFFIXES[format]:
        raise InputError(f"{output} is to be {format}: give a name that ends in {SUFFIXES[format]}")
    if int8 and format not in ("onnx", "openvino"):
        raise InputError(f"{format} is not written in int8: use onnx or openvino")
    if not installed("onnx") and format in ("onnx", "openvino"):
        raise InputError(f"{format} needs the package onnx: pip install onnx")
    if not installed("openvino") and (
        format == "openvino" or (format == "onnx" and not installed("onnxruntime"))
    ):
        raise InputError(f"{format} is verified with openvino, which is missing: install it")


def _read(pictures: Sequence[Picture], card: ModelCard) -> np.ndarray:
    """(N, H, W, 3) uint8; the first that cannot be read raises its error."""
    if not pictures:
        return np.empty((0, *card.size, 3), np.uint8)
    (batch,) = read_batches(pictures, len(pictures), card.size)
    for _, error in batch.faults:
        raise error
    return batch.pictures


def _metadata(model: ReIDModel, card: ModelCard, format: str, sample: np.ndarray) -> dict[str, str]:
    """What the file says of itself."""
    mark = fingerprint(model, card)
    if len(sample):
        calibrated = hashlib.sha256(sample.tobytes()).hexdigest()
        mark = hashlib.sha256(f"{mark} int8 {format} {calibrated}".encode()).hexdigest()
    data = card.training.get("data", "unknown")
    return {
        "backbone": card.backbone,
        "size": f"{card.size[0]}x{card.size[1]}",
        "training_set": data if isinstance(data, str) else ", ".join(data),
        "method": str(card.training.get("method", "unknown")),
        "precision": "int8" if len(sample) else "float32",
        "version": f"reid-dhm {__version__}",
        "fingerprint": mark,
        "card": json.dumps(asdict(card)),
    }


def _write_onnx(
    model: ReIDModel, card: ModelCard, path: Path, facts: dict[str, str], sample: np.ndarray
) -> Run:
    import onnx

    graph = onnx.load_from_string(onnx_graph(model, card))
    if len(sample):
        graph = quantise_onnx(graph, sample)
    props = {f"{METADATA}.{key}": value for key, value in facts.items()}
    onnx.helper.set_model_props(graph, props)
    onnx.save(graph, path)
    if installed("onnxruntime"):
        from reid_dhm.inference.onnx_engine import OnnxRuntimeEngine

        return OnnxRuntimeEngine(path, torch.device("cpu"))
    from reid_dhm.inference.openvino_engine import OpenVINOEngine

    return OpenVINOEngine(path)


def _write_openvino(
    model: ReIDModel, card: ModelCard, path: Path, facts: dict[str, str], sample: np.ndarray
) -> Run:
    from reid_dhm.inference.openvino_engine import OpenVINOEngine, openvino, read_graph

    graph = read_graph(onnx_graph(model, card))
    if len(sample):
        graph = quantise_openvino(graph, sample)
    for key, value in facts.items():
        graph.set_rt_info(value, [METADATA, key])
    openvino().save_model(graph, str(path), compress_to_fp16=False)
    return OpenVINOEngine(path)


def _write_torchscript(
    model: ReIDModel, card: ModelCard, path: Path, facts: dict[str, str], sample: np.ndarray
) -> Run:
    network = _UnitRows(DeployedNetwork(model, card)).eval()
    with torch.no_grad():
        traced = torch.jit.trace(network, example_pictures(card), check_trace=False)
        frozen = torch.jit.freeze(traced)
    torch.jit.save(frozen, str(path), _extra_files={f"{METADATA}.json": json.dumps(facts)})
    written = torch.jit.load(str(path))

    def run(pictures: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return written(torch.from_numpy(pictures)).numpy()

    return run


def _write_safetensors(
    model: ReIDModel, card: ModelCard, path: Path, facts: dict[str, str], sample: np.ndarray
) -> Run:
    save_model(model, card, path)
    return TorchEngine(*load_model(path), device="cpu", plain=True)


_WRITERS = {
    "onnx": _write_onnx,
    "openvino": _write_openvino,
    "torchscript": _write_torchscript,
    "safetensors": _write_safetensors,
}


class _UnitRows(nn.Module):
    """The first of a network's outputs alone."""

    def __init__(self, network: DeployedNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, pictures: Tensor) -> Tensor:
        return self.network(pictures)[0]


def _verify(run: Run, model: ReIDModel, card: ModelCard, real: np.ndarray) -> list[Agreement]:
    """Compare on random pictures and on real ones, the first of each alone in its batch."""
    random = np.random.default_rng(0).integers(0, 256, (_RANDOM, *card.size, 3), np.uint8)
    reference = TorchEngine(model, card, "cpu", plain=True)
    found = []
    for name, pictures in (("random", random), ("real", real)):
        if len(pictures):
            parts = (pictures[:1], pictures[1:])
            written = np.concatenate([run(part) for part in parts if len(part)])
            cosine = cosines(written, reference(pictures))
            found.append(Agreement(name, len(pictures), float(cosine.min()), float(cosine.mean())))
    return found
