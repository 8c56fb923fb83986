"""Writing a model for other programs, and verifying the file against PyTorch.

A file takes uint8 RGB images (N, H, W, 3) and returns (N, D) float32 unit rows. It appears whole
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

from reid_dhm.errors import InputError, UnsupportedError
from reid_dhm.files import temporary_folder
from reid_dhm.inference.checkpoints import embedding_model, fingerprint
from reid_dhm.inference.engines.agreement import cosines
from reid_dhm.inference.engines.exported import (
    EMBEDDINGS,
    GRAPH_SUFFIXES,
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
from reid_dhm.inference.export.formats import VERIFICATION, check_request, spread
from reid_dhm.inference.export.quantisation import quantise
from reid_dhm.inference.reading import Image, read_batches
from reid_dhm.inference.trial import mark_passed
from reid_dhm.models.card import ModelCard, load_model, save_model
from reid_dhm.models.reid import ReIDModel
from reid_dhm.version import __version__

_INT8_MARGIN = 0.002  # above that on calibration images, since others do a little worse


def export_model(
    model: ReIDModel | ExportedModel,
    card: ModelCard,
    format: str,
    output: Path,
    images: Sequence[Image] = (),
    calibration: Sequence[Image] = (),
) -> list[Agreement]:
    """Write the part of a model that embeds: the main path, or the ensemble if its card says so.

    Args:
        model: of a checkpoint, in eval mode.
        card: its card.
        format: a key of :data:`.SUFFIXES`; ``safetensors`` is weights with a card, for reid-dhm.
        output: the file, with the suffix of its format; OpenVINO writes a ``.bin`` beside it,
            weights their card.
        images: real images to verify it on, besides random ones; by default some of those that
            it is calibrated with.
        calibration: real images to quantise it to int8 with (``onnx`` and ``openvino``); none for
            float32.

    Returns:
        The agreement on random images, and on real ones if there are any.

    Raises:
        InputError: embeddings that do not agree (the lowest cosine is below 0.999; for int8, the
            mean over real images is below 0.99) or are not unit rows.
        UnsupportedError: an exported file as the model, or a missing package.
    """
    check_request(format, output, int8=len(calibration) > 0)
    if isinstance(model, ExportedModel):
        raise UnsupportedError(
            f"{model.path} is an exported file already: give the checkpoint it was made from"
        )
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
    if output.suffix in GRAPH_SUFFIXES:
        mark_passed(output)
    return found


def _read(images: Sequence[Image], card: ModelCard) -> np.ndarray:
    """(N, H, W, 3) uint8; the first that cannot be read raises its error."""
    if not len(images):
        return np.empty((0, *card.size, 3), np.uint8)
    (batch,) = read_batches(images, len(images), card.size)
    for _, error in batch.faults:
        raise error
    return batch.images


def _metadata(model: ReIDModel, card: ModelCard, format: str, sample: np.ndarray) -> dict[str, str]:
    """The metadata of the file."""
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
    save()  # with the digest; the weights do not change
    return OpenVINOEngine(path).outputs


def _write_torchscript(
    model: ReIDModel, card: ModelCard, path: Path, facts: dict[str, str], sample: np.ndarray
) -> Run:
    network = _UnitRows(DeployedNetwork(model, card)).eval()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch recommends its newer format
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
    """Only the first of a network's outputs."""

    def __init__(self, network: DeployedNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images)[0]


def _judge(
    model: ReIDModel, card: ModelCard, sample: np.ndarray, engine: Callable[[Any], Run]
) -> Callable[[Any], float]:
    """A function from a graph to the mean cosine of its embeddings to eager PyTorch's."""
    judged = sample[spread(len(sample), VERIFICATION)]
    expected = TorchEngine(model, card, "cpu", plain=True)(judged)
    return lambda graph: float(cosines(engine(graph)(judged)[EMBEDDINGS], expected).mean())
