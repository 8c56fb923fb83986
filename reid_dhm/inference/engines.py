"""What runs a network for the :class:`~reid_dhm.inference.embedder.Embedder`, and which is taken.

Reading, resizing, mirroring and L2 normalisation are the Embedder's; an engine sees batches.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from reid_dhm.errors import InputError
from reid_dhm.inference.exported import ExportedModel
from reid_dhm.inference.network import installed, onnx_graph
from reid_dhm.inference.torch_engine import TorchEngine, cpu_has_bf16, find_device, half_precision
from reid_dhm.models.card import ModelCard
from reid_dhm.models.reid import ReIDModel

logger = logging.getLogger(__name__)

ENGINES = ("auto", "torch", "openvino", "onnxruntime")
PRECISIONS = ("auto", "float32", "bf16", "fp16")

AGREEMENT = 0.999
"""Lowest cosine to eager PyTorch in float32 with which an engine is taken."""

_CHECKED = 8  # pictures of the first batch that are embedded both ways


class Engine(Protocol):
    """Runs one network on one device.

    Attributes:
        name: as it is asked for, never ``auto``.
        device: where it runs.
        precision: ``float32``, ``bf16`` or ``fp16``.
        batch_size: pictures that it takes at once best.
        streams: calls at once, from as many threads, that keep the device busy.
        dim: length D of an embedding.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def device(self) -> str: ...  # noqa: D102

    @property
    def precision(self) -> str: ...  # noqa: D102

    @property
    def batch_size(self) -> int: ...  # noqa: D102

    @property
    def streams(self) -> int: ...  # noqa: D102

    @property
    def dim(self) -> int: ...  # noqa: D102

    def __call__(self, pictures: np.ndarray) -> np.ndarray:
        """(N, H, W, 3) uint8 RGB pictures of the card's size → (N, D) float32, not normalised."""
        ...


@dataclass(frozen=True)
class Choice:
    """An engine that might be taken, not made yet."""

    name: str
    precision: str
    make: Callable[[], Engine]

    def __str__(self) -> str:
        return f"{self.name} in {self.precision}"


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
    with itself in float32). Where the cosine is below :data:`AGREEMENT`, the next engine takes over
    with a warning; 16 bits that were asked for by name run all the same.

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
            *_in_onnxruntime(graph, place),
        ]
    return [
        *_in_openvino(graph),
        *_in_onnxruntime(graph, place),
        *([in_torch("bf16")] if cpu_has_bf16() else []),
        in_torch("float32"),
    ]


def _of_a_file(model: ExportedModel) -> list[Choice]:
    """What is installed and can run the file on the CPU, float32 last.

    Raises:
        InputError: nothing is.
    """
    choices = _in_openvino(lambda: model.path)
    if model.path.suffix == ".onnx":
        choices += _in_onnxruntime(lambda: model.path, torch.device("cpu"))
    if not choices:
        raise InputError(f"nothing installed runs {model.path}: pip install openvino")
    return choices


def _in_openvino(graph: Callable[[], bytes | Path]) -> list[Choice]:
    if not installed("openvino", "onnx"):
        return []
    from reid_dhm.inference.openvino_engine import OpenVINOEngine, has_bf16

    precisions = ["bf16", "float32"] if has_bf16() else ["float32"]

    def make(precision: str) -> Engine:
        return OpenVINOEngine(graph(), precision)

    return [Choice("openvino", precision, partial(make, precision)) for precision in precisions]


def _in_onnxruntime(graph: Callable[[], bytes | Path], place: torch.device) -> list[Choice]:
    if not installed("onnxruntime", "onnx"):
        return []
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


class CheckedEngine:
    """The first of several engines whose embeddings agree with a reference; itself an Engine.

    The first batch that comes decides. Until then the engine to be tried next is held.

    Args:
        choices: best first, at least one. One that cannot be made gives way to the next.
        reference: what they must agree with; taken unchecked where it is itself a choice.
        insist: take the last choice even if it does not agree, with a warning.
    """

    def __init__(self, choices: Sequence[Choice], reference: Choice, insist: bool = False) -> None:
        self._left = deque(choices)
        self._insist = insist
        self._reference: Choice | None = reference
        self._deciding = threading.Lock()
        self._choice, self._engine = self._next()

    @property
    def name(self) -> str:
        """Of the engine held."""
        return self._engine.name

    @property
    def device(self) -> str:
        """Of the engine held."""
        return self._engine.device

    @property
    def precision(self) -> str:
        """Of the engine held."""
        return self._engine.precision

    @property
    def batch_size(self) -> int:
        """Of the engine held."""
        return self._engine.batch_size

    @property
    def streams(self) -> int:
        """Of the engine held."""
        return self._engine.streams

    @property
    def dim(self) -> int:
        """Of every choice."""
        return self._engine.dim

    def __call__(self, pictures: np.ndarray) -> np.ndarray:
        """(N, H, W, 3) uint8 RGB → (N, D) float32, not normalised."""
        if self._reference is not None:
            with self._deciding:
                if self._reference is not None:
                    self._decide(pictures[:_CHECKED], self._reference)
                    self._reference = None  # frees what it holds
                    self._left.clear()
        return self._engine(pictures)

    def _decide(self, pictures: np.ndarray, reference: Choice) -> None:
        if self._choice is reference:
            return
        expected = reference.make()(pictures)
        while self._choice is not reference:
            cosine = float(cosines(self._engine(pictures), expected).min())
            if cosine >= AGREEMENT:
                return
            differs = (
                f"{self._choice} differs from {reference} on the first pictures "
                f"(cosine {cosine:.4f}, {AGREEMENT} is asked for)"
            )
            if not self._left:
                if not self._insist:
                    raise InputError(f"{differs}: use engine auto")
                logger.warning("%s: it is used as asked", differs)
                return
            self._choice, self._engine = self._next()
            logger.warning("%s: using %s", differs, self._choice)

    def _next(self) -> tuple[Choice, Engine]:
        """The first of those left that can be made."""
        while True:
            choice = self._left.popleft()
            try:
                return choice, choice.make()
            except Exception as error:  # whatever a library raises for a network it cannot run
                if not self._left:
                    raise
                reason = (str(error).splitlines() or [type(error).__name__])[0]
                logger.warning(
                    "%s cannot run this model (%s): using %s", choice, reason, self._left[0]
                )


def cosines(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(N,) float64 cosines of the rows of two (N, D) arrays; 1 where both rows are zero."""
    a, b = left.astype(np.float64), right.astype(np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    both_zero = ~(a.any(axis=1) | b.any(axis=1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(both_zero, 1.0, (a * b).sum(axis=1) / lengths)
