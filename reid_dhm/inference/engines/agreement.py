"""Engines, and the check against eager PyTorch that one passes before it is used.

:mod:`reid_dhm.inference.engines.selection` knows which engines exist.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from reid_dhm.errors import InputError, UnsupportedError, first_line

logger = logging.getLogger(__name__)

AGREEMENT = 0.999
"""Lowest cosine to eager PyTorch in float32 of an accepted engine."""

_ROUNDED = 0.8  # lowest cosine that rounding explains where 16 bits are asked for by name
CHECKED = 8
"""Images of the first batch that are embedded both ways."""


class NotFiniteError(InputError):
    """A model computes infinite or undefined embeddings, in float32 as well."""


class Engine(Protocol):
    """Runs one network on one device.

    Attributes:
        name: ``torch``, ``openvino`` or ``onnxruntime``.
        device: ``cpu`` or ``cuda:N``.
        precision: ``float32``, ``bf16`` or ``fp16``.
        batch_size: images per batch that suit it best.
        streams: concurrent calls that keep the device busy.
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

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """(N, H, W, 3) uint8 RGB images of the card's size → (N, D) float32, not normalised."""
        ...


@dataclass(frozen=True)
class Choice:
    """An engine that may be chosen, not built yet."""

    name: str
    precision: str
    make: Callable[[], Engine]
    compiled: bool = False

    def __str__(self) -> str:
        return f"{self.name} in {self.precision}{', compiled' if self.compiled else ''}"


class CheckedEngine:
    """The first of several engines whose embeddings agree with a reference; itself an Engine.

    The first batch decides; until then it holds the engine to be tried next.

    Args:
        choices: best first, at least one. One that cannot be built or run is replaced by the next.
        reference: the engine they must agree with; accepted unchecked where it is itself a choice.
        insist: accept a choice that rounds more than is allowed, with a warning.

    Raises:
        UnsupportedError: none of the choices can be built.
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

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """(N, H, W, 3) uint8 RGB → (N, D) float32, not normalised."""
        self.decide(images)
        return self._engine(images)

    @property
    def decided(self) -> bool:
        """Whether the engine has been chosen."""
        return self._reference is None

    def decide(self, images: np.ndarray) -> None:
        """Compare on the first of (N, H, W, 3) uint8 images, unless that was done before.

        Raises:
            UnsupportedError: none of the choices agrees.
            NotFiniteError: a model whose embeddings are not finite.
        """
        if self._reference is None:
            return
        with self._deciding:
            if self._reference is not None:
                self._decide(images[:CHECKED], self._reference)
                self._reference = None  # frees what it holds
                self._left.clear()

    def _decide(self, images: np.ndarray, reference: Choice) -> None:
        if self._choice is reference:
            return
        expected = reference.make()(images)
        if not np.isfinite(expected).all():
            raise NotFiniteError(
                f"the model computes values that are not finite ({reference}, first images): use "
                "another checkpoint"
            )
        while self._choice is not reference:
            fault = self._fault(images, expected, reference)
            if fault is None:
                return
            if not self._left:
                raise UnsupportedError(f"{fault}: use {self._way_out()}")
            self._choice, self._engine = self._next()
            logger.warning("%s: using %s", fault, self._choice)

    def _fault(self, images: np.ndarray, expected: np.ndarray, reference: Choice) -> str | None:
        """The reason to reject the engine held, if there is one."""
        try:
            cosine = float(cosines(self._engine(images), expected).min())
        except Exception as error:  # whatever a library raises when its kernels meet the device
            return f"{self._choice} cannot run this model ({first_line(error)})"
        if cosine >= AGREEMENT:
            return None
        differs = (
            f"{self._choice} differs from {reference} on the first images "
            f"(cosine {cosine:.4f}, at least {AGREEMENT} is required)"
        )
        if self._insist and cosine >= _ROUNDED:
            logger.warning("%s: it is used, as it was asked for by name", differs)
            return None
        return differs

    def _next(self) -> tuple[Choice, Engine]:
        """The first remaining choice that can be built."""
        while True:
            choice = self._left.popleft()
            try:
                return choice, choice.make()
            except Exception as error:  # whatever a library raises for a network it cannot run
                fault = f"{choice} cannot run this model ({first_line(error)})"
                if not self._left:
                    raise UnsupportedError(f"{fault}: use {self._way_out()}") from error
                logger.warning("%s: using %s", fault, self._left[0])

    def _way_out(self) -> str:
        return "precision float32" if self._insist else "engine auto"


def cosines(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(N,) float64 cosines of the rows of two (N, D) arrays; 1 where both rows are zero."""
    a, b = left.astype(np.float64), right.astype(np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    both_zero = ~(a.any(axis=1) | b.any(axis=1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(both_zero, 1.0, (a * b).sum(axis=1) / lengths)
