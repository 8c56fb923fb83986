"""The engines that exist for a network on a device, and the choice between them.

Reading, resizing, mirroring and L2 normalisation belong to the Embedder; an engine sees batches.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reid_dhm.devices import parse_device, runs_on_cpu
from reid_dhm.errors import InputError, UnsupportedError, first_line
from reid_dhm.inference.engines.agreement import CheckedEngine, Choice, Engine
from reid_dhm.inference.engines.exported import ExportedModel, installed
from reid_dhm.inference.engines.options import ENGINES, EngineOptions
from reid_dhm.models.card import ModelCard

if TYPE_CHECKING:
    from reid_dhm.models.reid import ReIDModel

logger = logging.getLogger(__name__)

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
"""The order in which ``auto`` tries engines on a device. It is fixed, so that embeddings do not
depend on the load of a machine (rates: docs/results/inference.md)."""


def build_engine(
    model: ReIDModel | ExportedModel, card: ModelCard, options: EngineOptions
) -> CheckedEngine:
    """Make the engine that is asked for; ``auto`` is the first of :data:`ORDER` that agrees.

    The first batch of every engine is compared with eager PyTorch in float32; that of an exported
    file, with the file in float32. Where the engine fails or the cosine is below
    :data:`.AGREEMENT`, the next one takes over with a warning. 16 bits that were asked for by name
    run with a warning, unless they differ by more than rounding can explain.

    Args:
        model: in eval mode, on the CPU; the engine may keep it and change its memory layout.
        card: how the model is fed.
        options: engine, device, precision and batch size.

    Raises:
        InputError: ``compiled`` where nothing is compiled, or (with the first batch) no engine
            left that agrees.
        UnsupportedError: an engine, device or precision that this machine lacks.
    """
    exported = isinstance(model, ExportedModel)
    place = _find_place(options, model)
    if options.compiled and (place == "cpu" or options.engine not in ("auto", "torch") or exported):
        raise InputError("compiled needs the torch engine on a GPU: leave it out")
    if isinstance(model, ExportedModel):
        choices = _file_choices(options.engine, model)
        reference = next((one for one in choices[::-1] if one.precision == "float32"), None)
    else:
        choices = _model_choices(model, card, options, place)
        plain = partial(_torch_engine, model, card, place, plain=True)
        reference = Choice("torch", "float32", plain)
    precision = options.precision
    wanted = [choice for choice in choices if precision in ("auto", choice.precision)]
    if not wanted or reference is None:
        raise UnsupportedError(_why_none(options, model, place, choices))
    if options.engine == "auto" and precision in ("auto", "float32") and reference not in wanted:
        wanted.append(reference)
    return CheckedEngine(wanted, reference, insist=precision in ("bf16", "fp16"))


def available(place: str, engine: str = "auto", of_a_file: bool = False) -> list[tuple[str, str]]:
    """Engines and precisions that a device has, in the order of :data:`ORDER`.

    Args:
        place: ``cpu`` or ``cuda:N``.
        engine: one engine, so that the others are not imported; ``auto`` for all.
        of_a_file: only those that run an existing graph.
    """
    names = [name for name in ENGINES[1:] if engine in ("auto", name)]
    precisions = {name: _precisions(name, place, of_a_file) for name in names}
    kind = place.partition(":")[0]
    return [pair for pair in ORDER[kind] if pair[1] in precisions.get(pair[0], ())]


def _precisions(engine: str, place: str, of_a_file: bool) -> tuple[str, ...]:
    """Precisions that an engine supports on a device; none where it is missing or broken."""
    if engine == "torch":
        return () if of_a_file else _torch_precisions(place)
    if not installed(engine, *(() if of_a_file else ("onnx",))):
        return ()
    try:
        if engine == "onnxruntime":
            from reid_dhm.inference.engines.onnx_engine import gpu_precisions

            return ("float32",) if place == "cpu" else gpu_precisions()
        from reid_dhm.inference.engines.openvino_engine import has_bf16

        return ("bf16", "float32") if has_bf16() else ("float32",)
    except ImportError as error:
        logger.warning("%s is installed and cannot be imported (%s)", engine, first_line(error))
        return ()


def _torch_precisions(place: str) -> tuple[str, ...]:
    from reid_dhm.inference.engines.torch_engine import cpu_has_bf16, half_precision

    if place != "cpu":
        return tuple(dict.fromkeys((half_precision(parse_device(place)), "fp16", "float32")))
    return ("bf16", "float32") if cpu_has_bf16() else ("float32",)


def _find_place(options: EngineOptions, model: ReIDModel | ExportedModel) -> str:
    engine, device = options.engine, options.device
    exported = isinstance(model, ExportedModel)
    if runs_on_cpu(device) or (device == "auto" and (engine == "openvino" or exported)):
        return "cpu"
    place = str(parse_device(device))
    on_gpu = place != "cpu"
    if device == "auto" and engine == "onnxruntime" and on_gpu and not available(place, engine):
        return "cpu"
    if on_gpu and engine == "openvino":
        raise UnsupportedError(f"engine openvino does not run on {device}: use device cpu")
    if on_gpu and isinstance(model, ExportedModel):
        raise UnsupportedError(f"{model.path} does not run on {device}: use device cpu")
    return place


def _model_choices(
    model: ReIDModel, card: ModelCard, options: EngineOptions, place: str
) -> list[Choice]:
    from reid_dhm.inference.engines.network import onnx_graph

    graph = cache(partial(onnx_graph, model, card))
    choices = []
    for engine, precision in available(place, options.engine):
        if engine != "torch":
            choices.append(_graph_choice(engine, precision, graph, place, options.batch_size))
            continue
        kind = {"precision": precision, "batch_size": options.batch_size}
        native = partial(_torch_engine, model, card, place, **kind)
        if options.compiled:
            choices.append(Choice(engine, precision, partial(native, compiled=True), compiled=True))
        choices.append(Choice(engine, precision, native))
    return choices


def _torch_engine(model: ReIDModel, card: ModelCard, place: str, **options: Any) -> Engine:
    from reid_dhm.inference.engines.torch_engine import TorchEngine

    return TorchEngine(model, card, place, **options)


def _file_choices(engine: str, model: ExportedModel) -> list[Choice]:
    graph = model.adapt or (lambda: model.path)
    only_openvino = model.adapt is not None or model.path.suffix != ".onnx"
    return [
        _graph_choice(name, precision, graph, "cpu", None)
        for name, precision in available("cpu", engine, of_a_file=True)
        if name == "openvino" or not only_openvino
    ]


def _graph_choice(
    engine: str,
    precision: str,
    graph: Callable[[], bytes | Path],
    place: str,
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
    options: EngineOptions,
    model: ReIDModel | ExportedModel,
    place: str,
    choices: Sequence[Choice],
) -> str:
    engine = options.engine
    if choices:
        supported = " or ".join(dict.fromkeys(choice.precision for choice in choices))
        where = "CPU" if place == "cpu" else "GPU"
        return f"precision {options.precision} is not supported on this {where}: use {supported}"
    if isinstance(model, ExportedModel):
        if engine == "torch":
            return "engine torch does not run exported files: use engine openvino or onnxruntime"
        if engine == "auto":
            return f"no installed engine runs {model.path}: pip install openvino"
    if engine == "onnxruntime" and place != "cpu":
        return (
            "the installed onnxruntime does not support this GPU: pip install onnxruntime-gpu "
            "instead of onnxruntime, or use engine torch"
        )
    return f"engine {engine} is not installed or does not run this: pip install {engine} onnx"
