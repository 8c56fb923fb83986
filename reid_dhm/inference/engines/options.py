"""What a user asks of an engine, checked before anything heavy is imported."""

from __future__ import annotations

from dataclasses import dataclass

from reid_dhm.devices import check_device_name
from reid_dhm.errors import InputError

ENGINES = ("auto", "torch", "openvino", "onnxruntime")
PRECISIONS = ("auto", "float32", "bf16", "fp16")
LARGEST_BATCH = 4096


@dataclass(frozen=True)
class EngineOptions:
    """How a network is to be run.

    Attributes:
        engine: one of :data:`ENGINES`.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        precision: one of :data:`PRECISIONS`; ``auto`` is the first of the order that agrees.
        compiled: compile the torch engine's network on a GPU; what cannot be compiled runs as it
            is.
        batch_size: images per batch; ``None`` for what suits the engine.

    Raises:
        InputError: an unknown name, or a batch size out of range.
    """

    engine: str = "auto"
    device: str = "auto"
    precision: str = "auto"
    compiled: bool = False
    batch_size: int | None = None

    def __post_init__(self) -> None:
        for what, known in (("engine", ENGINES), ("precision", PRECISIONS)):
            if (value := getattr(self, what)) not in known:
                raise InputError(f"{what} is {value!r}: use {', '.join(known)}")
        check_device_name(self.device)
        if self.batch_size is not None and not 1 <= self.batch_size <= LARGEST_BATCH:
            raise InputError(f"batch_size is {self.batch_size}: use 1 to {LARGEST_BATCH}")
