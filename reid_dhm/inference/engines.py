"""Which engines there are for a network on a device, and which of them is taken.

Reading, resizing, mirroring and L2 normalisation are the Embedder's; an engine sees batches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path

import torch

from reid_dhm.errors import InputError
from reid_dhm.inference.agreement import CheckedEngine, Choice, Engine
from reid_dhm.inference.exported import ExportedModel
from reid_dhm.inference.network import installed, onnx_graph
from reid_dhm.inference.torch_engine import TorchEngine, cpu_has_bf16, find_device, half_precision
from reid_dhm.models.card import ModelCard
from reid_dhm.models.reid import ReIDModel

ENGINES = ("auto", "torch", "openvino", "onnxruntime")
PRECISIONS = ("auto", "float32", "bf16", "fp16")


def build_engine(
    name: str,
    model: ReIDModel | ExportedModel,
    card: ModelCard,
    device: str = "auto",
    precision: str = "auto",
    compiled: bool = False,
) -> Engine:
    """Make the engine ``name``; ``auto`` is the fastest installed that agrees with the reference.

    Whatever is taken has its first batch compared with eager PyTorch in float32 (an exported file,
    with itself in float32). Where the cosine is below
    :data:`~reid_dhm.inference.agreement.AGREEMENT`, the next engine takes over with a warning; 16
    bits that were asked for by name run all the same.

    Args:
        name: one of :data:`ENGINES`.
        model: in eval mode; the engine may keep it, move it and change its memory layout.
        card: how the model is fed.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        precision: one of :data:`PRECISIONS`; ``auto`` is the fastest.
        compiled: of the torch engine on a GPU: see
            :class:`~reid_dhm.inference.torch_engine.TorchEngine`.

    Raises:
        InputError: an unknown engine, device or precision, one that is not there, or (when the
            first batch comes) none left that agrees.
    """
    for what, value, known in (("engine", name, ENGINES), ("precision", precision, PRECISIONS)):
        if value not in known:
            raise InputError(f"{what} {value!r} is unknown: use {', '.join(known)}")
    place = _find_place(name, device, model)
    if isinstance(model, ExportedModel):
        choices = _of_a_file(model)
        reference = choices[-1]
    else:
        choices = _of_a_model(model, card, place, compiled)
        plain = partial(TorchEngine, model, card, str(place), plain=True)
        reference = Choice("torch", "float32", plain)
    wanted = [
        choice
        for choice in choices
        if name in ("auto", choice.name) and precision in ("auto", choice.precision)
    ]
    if name == "auto" and place.type == "cuda":  # made for another kind of use: slow to start
        wanted = [choice for choice in wanted if choice.name != "onnxruntime"]
    if not wanted:
        raise InputError(_why_none(name, precision, place, choices))
    if name == "auto" and precision in ("auto", "float32") and reference not in wanted:
        wanted.append(reference)
    return CheckedEngine(wanted, reference, insist=precision in ("bf16", "fp16"))


def _find_place(name: str, device: str, model: ReIDModel | ExportedModel) -> torch.device:
    if device == "auto" and (name == "openvino" or isinstance(model, ExportedModel)):
        return torch.device("cpu")
    place = find_device(device)
    if place.type == "cuda" and name == "openvino":
        raise InputError(f"engine openvino runs on the CPU, not on {device}: use device cpu")
    if place.type == "cuda" and isinstance(model, ExportedModel):
        raise InputError(f"{model.path} is embedded on the CPU, not on {device}: use device cpu")
    return place


def _of_a_model(
    model: ReIDModel, card: ModelCard, place: torch.device, compiled: bool
) -> list[Choice]:
    """What is installed for the device, fastest first (docs/results/inference.md)."""
    graph = cache(partial(onnx_graph, model, card))
    native = partial(TorchEngine, model, card, str(place), compiled=compiled)

    def in_torch(precision: str) -> Choice:
        return Choice("torch", precision, partial(native, precision))

    if place.type == "cuda":
        half = half_precision(place)
        return [
            *(in_torch(precision) for precision in (half, "float32")),
            *(_in_onnxruntime(graph, place) if installed("onnxruntime", "onnx") else []),
        ]
    return [
        *(_in_openvino(graph) if installed("openvino", "onnx") else []),
        *(_in_onnxruntime(graph, place) if installed("onnxruntime", "onnx") else []),
        *([in_torch("bf16")] if cpu_has_bf16() else []),
        in_torch("float32"),
    ]


def _of_a_file(model: ExportedModel) -> list[Choice]:
    """What is installed and can run the file on the CPU, float32 last.

    Raises:
        InputError: nothing is.
    """
    choices = _in_openvino(lambda: model.path) if installed("openvino") else []
    if model.path.suffix == ".onnx" and installed("onnxruntime"):
        choices += _in_onnxruntime(lambda: model.path, torch.device("cpu"))
    if not choices:
        raise InputError(f"nothing installed runs {model.path}: pip install openvino")
    return choices


def _in_openvino(graph: Callable[[], bytes | Path]) -> list[Choice]:
    from reid_dhm.inference.openvino_engine import OpenVINOEngine, has_bf16

    precisions = ["bf16", "float32"] if has_bf16() else ["float32"]

    def make(precision: str) -> Engine:
        return OpenVINOEngine(graph(), precision)

    return [Choice("openvino", precision, partial(make, precision)) for precision in precisions]


def _in_onnxruntime(graph: Callable[[], bytes | Path], place: torch.device) -> list[Choice]:
    from reid_dhm.inference.onnx_engine import OnnxRuntimeEngine, tensorrt_is_there

    half = place.type == "cuda" and tensorrt_is_there()

    def make(precision: str) -> Engine:
        return OnnxRuntimeEngine(graph(), place, precision)

    return [
        Choice("onnxruntime", precision, partial(make, precision))
        for precision in (["fp16", "float32"] if half else ["float32"])
    ]


def _why_none(name: str, precision: str, place: torch.device, choices: Sequence[Choice]) -> str:
    of_engine = [choice.precision for choice in choices if name in ("auto", choice.name)]
    if of_engine:
        return (
            f"precision {precision} is not to be had on this {place}: "
            f"use {' or '.join(dict.fromkeys(of_engine))}"
        )
    if name == "torch":
        return "an exported file is not PyTorch's to run: use engine openvino or onnxruntime"
    return f"engine {name} is not installed, or not for this: pip install {name} onnx"
