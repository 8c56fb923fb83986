"""What runs a network for the :class:`~reid_dhm.inference.embedder.Embedder`.

Reading, resizing, mirroring and L2 normalisation are the Embedder's; an engine sees batches.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from reid_dhm.errors import InputError
from reid_dhm.inference.torch_engine import TorchEngine
from reid_dhm.models.card import ModelCard
from reid_dhm.models.reid import ReIDModel

ENGINES = ("auto", "torch")


class Engine(Protocol):
    """Runs one network on one device.

    Attributes:
        name: as it is asked for, never ``auto``.
        device: where it runs.
        batch_size: pictures that it takes at once best.
    """

    name: str
    device: str
    batch_size: int

    def __call__(self, pictures: np.ndarray) -> np.ndarray:
        """(N, H, W, 3) uint8 RGB pictures of the card's size → (N, D) float32, not normalised."""
        ...


def build_engine(
    name: str, model: ReIDModel, card: ModelCard, device: str, precision: str = "auto"
) -> Engine:
    """Make the engine ``name``; ``auto`` is the fastest there is.

    Args:
        name: one of :data:`ENGINES`.
        model: in eval mode; the engine may keep it, move it and change its memory layout.
        card: how the model is fed.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        precision: ``auto`` (the fastest that serves on the device) or ``float32``.

    Raises:
        InputError: an unknown engine, device or precision, or a device that is not there.
    """
    if name not in ENGINES:
        raise InputError(f"engine {name!r} is unknown: use {' or '.join(ENGINES)}")
    return TorchEngine(model, card, device, precision)
