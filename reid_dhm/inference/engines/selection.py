"""Which engines there are for a network on a device, and which of them is taken.

Reading, resizing, mirroring and L2 normalisation are the Embedder's; an engine sees batches.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path

import torch

from reid_dhm.devices import parse_device
from reid_dhm.errors import InputError, first_line
from reid_dhm.inference.engines.agreement import CheckedEngine, Choice, Engine
from reid_dhm.inference.engines.exported import ExportedModel
from reid_dhm.inference.engines.network import installed, onnx_graph
from reid_dhm.inference.engines.torch_engine import (
    TorchEngine,
    cpu_has_bf16,
    half_precision,
)
from reid_dhm.models.card import ModelCard
from reid_dhm.models.reid import ReIDModel

logger = logging.getLogger(__name__)

ENGINES = ("auto", "torch", "openvino", "onnxruntime")
PRECISIONS = ("auto", "float32", "bf16", "fp16")

ORDER = {
    "cpu": (
        ("openvino", "bf16"),
        ("onnxruntime", "float32"),
        ("openvino", "float32"),
        ("torch", "bf16"),
        ("torch", "float32"),
    ),
    "cuda": (
        ("torch", "bf16"),
        ("torch", "fp16"),
        ("torch", "float32"),
        ("onnxruntime", "fp16"),
        ("onnxruntime", "float32"),
    ),
}
"""What ``auto`` tries on a device, first to last; the order is fixed, so that embeddings do not
depend on what else a machine does at the moment (rates: docs/results/inference.md)."""


def build_engine(
    name: str,
    model: ReIDModel | ExportedModel,
    card: ModelCard,
    device: str = "auto",
    precision: str = "auto",
    compiled: bool = False,
    batch_size: int | None = None,
) -> CheckedEngine:
    """Make the engine ``name``; ``auto`` is the first of :data:`ORDER` that is there and agrees.

    Whatever is taken has its first batch compared with eager PyTorch in float32 (an exported file,
    with itself in float32). Where it fails, or the cosine is below
    :data:`.AGREEMENT`, the next engine takes over with a warning; 16
    bits that were asked for by name run with a warning, unless they differ beyond all rounding.

    Args:
        name: one of :data:`ENGINES`.
        model: in eval mode, on the CPU; the engine may keep it and change its memory layout.
        card: how the model is fed.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        precision: one of :data:`PRECISIONS`; ``auto`` is the first of the order that agrees.
        compiled: of the torch engine on a GPU: see
            :class:`.TorchEngine`; what cannot be compiled runs as
            it is.
        batch_size: images at once; ``None`` for what suits the engine.

    Raises:
        InputError: an unknown engine, device or precision, one that is not there, ``compiled``
            where nothing is compiled, or (when the first batch comes) none left that agrees.
    """
    for what, value, known in (("engine", name, ENGINES), ("precision", precision, PRECISIONS)):
        if value not in known:
            raise InputError(f"{what} {value!r} is unknown: use {', '.join(known)}")
    place = _find_place(name, device, model)
    if compiled and (
        place.type != "cuda" or name not in ("auto", "torch") or isinstance(model, ExportedModel)
    ):
        raise InputError("compiling is for the torch engine on a GPU: leave it out")
    if isinstance(model, ExportedModel):
        choices = _of_a_file(name, model)
        reference = next((one for one in choices[::-1] if one.precision == "float32"), None)
    else:
        choices = _of_a_model(name, model, card, place, compiled, batch_size)
        plain = partial(TorchEngine, model, card, str(place), plain=True)
        reference = Choice("torch", "float32", plain)
    wanted = [choice for choice in choices if precision in ("auto", choice.precision)]
    if not wanted or reference is None:
        raise InputError(_why_none(name, model, precision, place, choices))
    if name == "auto" and precision in ("auto", "float32") and reference not in wanted:
        wanted.append(reference)
    return CheckedEngine(wanted, reference, insist=precision in ("bf16", "fp16"))


def available(
    place: torch.device, name: str = "auto", of_a_file: bool = False
) -> list[tuple[str, str]]:
    """Engines and precisions that are there for a device, in :data:`ORDER`.

    Args:
        place: the device.
        name: an engine; nothing is imported of the others. ``auto`` for all.
        of_a_file: those that run a graph which is made already.
    """
    names = [engine for engine in ENGINES[1:] if name in ("auto", engine)]
    precisions = {engine: _precisions(engine, place, of_a_file) for engine in names}
    return [pair for pair in ORDER[place.type] if pair[1] in precisions.get(pair[0], ())]


def _precisions(engine: str, place: torch.device, of_a_file: bool) -> tuple[str, ...]:
    """What an engine computes in on a device; nothing where it is missing, or is broken."""
    on_gpu = place.type == "cuda"
    if engine == "torch":
        if of_a_file:
            return ()
        if on_gpu:
            return tuple(dict.fromkeys((half_precision(place), "fp16", "float32")))
        return ("bf16", "float32") if cpu_has_bf16() else ("float32",)
    if not installed(engine, *(() if of_a_file else ("onnx",))):
        return ()
    try:
        if engine == "onnxruntime":
            return _of_onnxruntime(on_gpu)
        from reid_dhm.inference.engines.openvino_engine import has_bf16

        return ("bf16", "float32") if has_bf16() else ("float32",)
    except ImportError as error:
        logger.warning("%s is installed and cannot be imported (%s)", engine, first_line(error))
        return ()


def _of_onnxruntime(on_gpu: bool) -> tuple[str, ...]:
    from reid_dhm.inference.engines.onnx_engine import gpu_precisions

    return gpu_precisions() if on_gpu else ("float32",)


def _find_place(name: str, device: str, model: ReIDModel | ExportedModel) -> torch.device:
    if device == "auto" and (name == "openvino" or isinstance(model, ExportedModel)):
        return torch.device("cpu")
    place = parse_device(device)
    on_gpu = place.type == "cuda"
    if device == "auto" and name == "onnxruntime" and on_gpu and not available(place, name):
        return torch.device("cpu")
    if on_gpu and name == "openvino":
        raise InputError(f"engine openvino runs on the CPU, not on {device}: use device cpu")
    if on_gpu and isinstance(model, ExportedModel):
        raise InputError(f"{model.path} is embedded on the CPU, not on {device}: use device cpu")
    return place


def _of_a_model(
    name: str,
    model: ReIDModel,
    card: ModelCard,
    place: torch.device,
    compiled: bool,
    batch_size: int | None,
) -> list[Choice]:
    graph = cache(partial(onnx_graph, model, card))
    choices = []
    for engine, precision in available(place, name):
        if engine != "torch":
            choices.append(_of_a_graph(engine, precision, graph, place, batch_size))
            continue
        native = partial(TorchEngine, model, card, str(place), precision, batch_size=batch_size)
        if compiled:
            choices.append(Choice(engine, precision, partial(native, compiled=True), compiled=True))
        choices.append(Choice(engine, precision, native))
    return choices


def _of_a_file(name: str, model: ExportedModel) -> list[Choice]:
    cpu = torch.device("cpu")
    return [
        _of_a_graph(engine, precision, lambda: model.path, cpu, None)
        for engine, precision in available(cpu, name, of_a_file=True)
        if engine == "openvino" or model.path.suffix == ".onnx"
    ]


def _of_a_graph(
    engine: str,
    precision: str,
    graph: Callable[[], bytes | Path],
    place: torch.device,
    batch_size: int | None,
) -> Choice:
    def make() -> Engine:
        if engine == "openvino":
            from reid_dhm.inference.engines.openvino_engine import OpenVINOEngine

            return OpenVINOEngine(graph(), precision)
        from reid_dhm.inference.engines.onnx_engine import OnnxRuntimeEngine

        return OnnxRuntimeEngine(graph(), place, precision, batch_size)

    return Choice(engine, precision, make)


def _why_none(
    name: str,
    model: ReIDModel | ExportedModel,
    precision: str,
    place: torch.device,
    choices: Sequence[Choice],
) -> str:
    if choices:
        there = " or ".join(dict.fromkeys(choice.precision for choice in choices))
        return f"precision {precision} is not to be had on this {place}: use {there}"
    if isinstance(model, ExportedModel):
        if name == "torch":
            return "an exported file is not PyTorch's to run: use engine openvino or onnxruntime"
        if name == "auto":
            return f"nothing installed runs {model.path}: pip install openvino"
    if name == "onnxruntime" and place.type == "cuda":
        return (
            "engine onnxruntime has no provider for a GPU here: pip install onnxruntime-gpu "
            "instead of onnxruntime, or use engine torch"
        )
    return f"engine {name} is not installed, or not for this: pip install {name} onnx"
