"""Images to embeddings, for notebooks and programs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from os import PathLike
from pathlib import Path

import numpy as np

from reid_dhm.api.images import Image, as_list, to_rgb
from reid_dhm.inference.default import DEFAULT_CHECKPOINT
from reid_dhm.inference.embedder import EmbeddedBatch, OnError
from reid_dhm.inference.embedder import Embedder as _Embedder


class Embedder:
    """Turns images of people into embeddings.

    Args:
        checkpoint: a run folder, a :class:`TrainingRun`, a ``.safetensors`` with its card, or an
            exported ``.onnx`` or ``.xml``; None for the model of the package.
        engine: ``torch``, ``openvino``, ``onnxruntime``, or ``auto`` for the fastest installed one
            that agrees with PyTorch in float32 (cosine of 0.999 or more).
        device: ``auto`` (a GPU if there is one), ``cpu``, ``cuda`` or ``cuda:N``.
        normalize: return unit rows; otherwise embeddings as the model computes them.
        flip: average each embedding with that of the mirrored image.
        batch_size: images per batch; None for what suits the engine.
        precision: ``auto``, ``float32``, ``bf16`` or ``fp16``.

    Raises:
        InputError: a checkpoint, engine, device or precision that cannot be used.
    """

    def __init__(
        self,
        checkpoint: str | PathLike[str] | None = None,
        *,
        engine: str = "auto",
        device: str = "auto",
        normalize: bool = True,
        flip: bool = False,
        batch_size: int | None = None,
        precision: str = "auto",
    ) -> None:
        self._embedder = _Embedder(
            DEFAULT_CHECKPOINT if checkpoint is None else Path(checkpoint),
            engine=engine,
            device=device,
            normalize=normalize,
            flip=flip,
            batch_size=batch_size,
            precision=precision,
        )

    @property
    def engine(self) -> str:
        """The engine in use; under ``auto`` the first batch may still change it."""
        return self._embedder.engine

    @property
    def precision(self) -> str:
        """``float32``, ``bf16``, ``fp16`` or ``int8``."""
        return self._embedder.precision

    @property
    def device(self) -> str:
        """Where it runs."""
        return self._embedder.device

    @property
    def dim(self) -> int:
        """Length D of an embedding."""
        return self._embedder.dim

    @property
    def fingerprint(self) -> str:
        """Identifies the model: embeddings of different fingerprints cannot be compared."""
        return self._embedder.fingerprint

    def __call__(
        self,
        images: Image | Sequence[Image],
        channels: str | None = None,
        on_progress: Callable[[int, int], None] | None = None,
        on_error: OnError | None = None,
    ) -> np.ndarray:
        """Embed images.

        Args:
            images: one image or N: files, PIL images, (H, W, 3) uint8 arrays, in any mixture.
            channels: ``rgb`` or ``bgr``, the color order of arrays; required for them.
            on_progress: called with the images done and N after each batch.
            on_error: called with the row and the error of each unreadable image, whose row is then
                left out; by default the first error is raised.

        Returns:
            (N, D) float32 in input order, N = 1 for one image.

        Raises:
            InputError: an unreadable image, an array without ``channels``, or a non-finite
                embedding.
        """
        return self._embedder(list(to_rgb(as_list(images), channels)), on_progress, on_error)

    def stream(
        self,
        images: Iterable[Image],
        channels: str | None = None,
        on_error: OnError | None = None,
    ) -> Iterator[EmbeddedBatch]:
        """Embed any number of images in constant memory.

        Args:
            images: taken as they are needed; otherwise as in a call.
            channels: as in a call.
            on_error: as in a call.

        Yields:
            Batches with ``rows`` (n,) int64, ``embeddings`` (n, D) float32 and ``end``, the number
            of images done, in input order.
        """
        return self._embedder.stream(to_rgb(images, channels), on_error)

    def similarity(self, first: Image, second: Image, channels: str | None = None) -> float:
        """Cosine similarity of two images, -1 to 1.

        Args:
            first, second: as in a call.
            channels: as in a call.
        """
        a, b = self([first, second], channels).astype(np.float64)
        return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))

    def __repr__(self) -> str:
        card = self._embedder.card
        size = f"{card.size[0]}x{card.size[1]}"
        return f"Embedder({card.backbone}, {size}, {self.dim} dimensions, {self.engine})"
