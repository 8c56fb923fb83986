"""Writing a model for other programs, and proving that what was written gives its embeddings.

A file takes uint8 RGB images (N, H, W, 3) and gives (N, D) float32 unit rows. It appears whole
and verified, or not at all.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from reid_dhm.errors import InputError
from reid_dhm.files import temporary_folder
from reid_dhm.inference.checkpoints import embedding_model, fingerprint
from reid_dhm.inference.engines.agreement import cosines
from reid_dhm.inference.engines.exported import (
    EMBEDDINGS,
    METADATA,
    RAW,
    WEIGHTS,
    ExportedModel,
    file_digest,
    installed,
)
from reid_dhm.inference.engines.network import DeployedNetwork, example_images, onnx_graph
from reid_dhm.inference.engines.torch_engine import TorchEngine
from reid_dhm.inference.export.check import (
    INT8_AGREEMENT,
    Agreement,
    Run,
    find_fault,
    random_images,
    verify,
)
from reid_dhm.inference.export.quantisation import quantise
from reid_dhm.inference.reading import Image, read_batches
from reid_dhm.models.card import ModelCard, load_model, save_model
from reid_dhm.models.reid import ReIDModel
from reid_dhm.version import __version__

SUFFIXES = {
    "onnx": ".onnx",
    "openvino": ".xml",
    "torchscript": ".pt",
    "safetensors": ".safetensors",
}
"""Formats, and how their files must end so that they are known again."""

CALIBRATION = 300
"""Images that are enough to calibrate int8 with."""
VERIFICATION = 64
"""Real images that are enough to verify a file on."""

_INT8_MARGIN = 0.002  # above that on calibration images, since others do a little worse


def export_model(
    model: ReIDModel | ExportedModel,
    card: ModelCard,
    format: str,
    output: Path,
    images: Sequence[Image] = (),
    calibration: Sequence[Image] = (),
) -> list[Agreement]:
    """Write what of a model embeds: the main path, or the ensemble where its card asks for it.

    Args:
        model: of a checkpoint, in eval mode.
        card: its card.
        format: a key of :data:`SUFFIXES`; ``safetensors`` is weights with a card, for reid-dhm.
        output: the file, ending as its format does; OpenVINO writes a ``.bin`` beside it, and
            weights their card.
        images: real ones to verify it with, beside random ones; without, it is verified with
            some of those it is calibrated with.
        calibration: real ones to quantise it to int8 with (``onnx`` and ``openvino``); none for
            float32.

    Returns:
        How the file agrees on random images, and on the real ones if there are any.

    Raises:
        InputError: what is no model to be exported, a package that is missing, or embeddings that
            do not agree: some image's cosine below 0.999, for int8 the mean of the real images'
            below 0.99; or no unit rows.
    """
    _refuse(model, format, output, len(calibration) > 0)
    chosen = embedding_model(model, card)
    assert isinstance(chosen, ReIDModel)
    if card.embedding == "main":
        card = replace(card, branches=())
    sample = _read(calibration, card)
    facts = _metadata(chosen, card, format, sample)
    with temporary_folder(output.parent, "export") as folder:
        unfinished = folder / output.name
        run = _WRITERS[format](chosen, card, unfinished, facts, sample)
        shown = {
            "random": random_images(card.size),
            "real": _read(images, card),
            "calibration": sample[spread(len(sample), 0 if len(images) else VERIFICATION)],
        }
        try:
            found = verify(run, chosen, card, shown)
        except InputError as error:
            raise InputError(f"{output} is not kept, {error}") from error
        if fault := find_fault(found, int8=len(sample) > 0):
            raise InputError(f"{output} is not kept, {fault}")
        beside = [path for path in folder.iterdir() if path != unfinished]
        for path in (*beside, unfinished):
            path.replace(output.with_name(path.name))
    return found


def _refuse(model: ReIDModel | ExportedModel, format: str, output: Path, int8: bool) -> None:
    if format not in SUFFIXES:
        raise InputError(f"format {format!r} is unknown: use {', '.join(SUFFIXES)}")
    if isinstance(model, ExportedModel):
        raise InputError(f"{model.path} is exported already: give the checkpoint it was made from")
    if output.suffix != SUFFIXES[format]:
        raise InputError(f"{output} is to be {format}: give a name that ends in {SUFFIXES[format]}")
    if output.is_dir():
        raise InputError(f"{output} is a folder: give the name of a file to write")
    if int8 and format not in ("onnx", "openvino"):
        raise InputError(f"{format} is not written in int8: use onnx or openvino")
    if not installed("onnx") and format in ("onnx", "openvino"):
        raise InputError(f"{format} needs the package onnx: pip install onnx")
    if not installed("openvino") and (
        format == "openvino" or (format == "onnx" and not installed("onnxruntime"))
    ):
        raise InputError(f"{format} is verified with openvino, which is missing: install it")


def _read(images: Sequence[Image], card: ModelCard) -> np.ndarray:
    """(N, H, W, 3) uint8; the first that cannot be read raises its error."""
    if not len(images):
        return np.empty((0, *card.size, 3), np.uint8)
    (batch,) = read_batches(images, len(images), card.size)
    for _, error in batch.faults:
        raise error
    return batch.images


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
        judge = _judge(model, card, sample, lambda graph: _onnx_run(graph.SerializeToString()))
        graph = quantise(graph, sample, judge, INT8_AGREEMENT + _INT8_MARGIN)
    props = {f"{METADATA}.{key}": value for key, value in facts.items()}
    onnx.helper.set_model_props(graph, props)
    onnx.save(graph, path)
    return _onnx_run(path)


def _onnx_run(graph: bytes | Path) -> Run:
    if installed("onnxruntime"):
        from reid_dhm.inference.engines.onnx_engine import OnnxRuntimeEngine

        return OnnxRuntimeEngine(graph, "cpu").outputs
    from reid_dhm.inference.engines.openvino_engine import OpenVINOEngine

    return OpenVINOEngine(graph).outputs


def _write_openvino(
    model: ReIDModel, card: ModelCard, path: Path, facts: dict[str, str], sample: np.ndarray
) -> Run:
    from reid_dhm.inference.engines.openvino_engine import OpenVINOEngine
    from reid_dhm.inference.engines.openvino_runtime import openvino, read_graph

    graph = read_graph(onnx_graph(model, card))
    if len(sample):
        judge = _judge(model, card, sample, lambda graph: OpenVINOEngine(graph).outputs)
        graph = quantise(graph, sample, judge, INT8_AGREEMENT + _INT8_MARGIN)
    for key, value in facts.items():
        graph.set_rt_info(value, [METADATA, key])
    save = partial(openvino().save_model, graph, str(path), compress_to_fp16=False)
    save()
    graph.set_rt_info(file_digest(path.with_suffix(".bin")), [METADATA, WEIGHTS])
    save()  # the weights are the same again
    return OpenVINOEngine(path).outputs


def _write_torchscript(
    model: ReIDModel, card: ModelCard, path: Path, facts: dict[str, str], sample: np.ndarray
) -> Run:
    network = _UnitRows(DeployedNetwork(model, card)).eval()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch would rather have its newer format asked for
        traced = torch.jit.trace(network, example_images(card), check_trace=False)
        frozen = torch.jit.freeze(traced)
        torch.jit.save(frozen, str(path), _extra_files={f"{METADATA}.json": json.dumps(facts)})
        written = torch.jit.load(str(path))

    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        with torch.inference_mode():
            return {EMBEDDINGS: written(torch.from_numpy(images)).numpy()}

    return run


def _write_safetensors(
    model: ReIDModel, card: ModelCard, path: Path, facts: dict[str, str], sample: np.ndarray
) -> Run:
    save_model(model, card, path, facts)
    engine = TorchEngine(*load_model(path), device="cpu", plain=True)
    return lambda images: {RAW: engine(images)}


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

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images)[0]


def _judge(
    model: ReIDModel, card: ModelCard, sample: np.ndarray, engine: Callable[[Any], Run]
) -> Callable[[Any], float]:
    """Tells the mean cosine of a graph's embeddings to eager PyTorch's."""
    judged = sample[spread(len(sample), VERIFICATION)]
    expected = TorchEngine(model, card, "cpu", plain=True)(judged)
    return lambda graph: float(cosines(engine(graph)(judged)[EMBEDDINGS], expected).mean())


def spread(total: int, count: int) -> list[int]:
    """``count`` rows of ``total``, evenly from the first to the last; all if there are no more."""
    return [i * total // count for i in range(count)] if count < total else list(range(total))
