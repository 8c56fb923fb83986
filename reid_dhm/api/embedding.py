"""The embedder of the public interface: files, Pillow images and arrays, with their colour order.

Inside the package arrays are RGB and :class:`reid_dhm.inference.embedder.Embedder` takes them
as such; here the caller states their colour order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reid_dhm.api.images import Channels, Image, as_images, to_rgb
from reid_dhm.inference import embedder
from reid_dhm.inference.checkpoint_file import find_checkpoint
from reid_dhm.inference.default import DEFAULT_CHECKPOINT


class Embedder:
    """Turns images of people into embeddings.

    Args:
        checkpoint: a run folder, a ``TrainingRun``, a ``.safetensors`` with its card, an
            exported ``.onnx`` or ``.xml``, weights or a graph that others made, or a name of
            ``reid-dhm models``; ``None`` for the model of the package.
        engine: ``torch``, ``openvino``, ``onnxruntime``, or ``auto`` for the fastest that is
            installed and agrees with eager PyTorch in float32 (cosine ≥ 0.999).
        device: ``auto`` (a GPU if there is one), ``cpu``, ``cuda`` or ``cuda:N``.
        normalize: return unit rows; otherwise embeddings as the model gives them.
        flip: average each embedding with its mirrored image's, before normalising.
        precision: ``auto``, ``float32``, ``bf16`` or ``fp16``.
        backbone, size, neck: for weights without a card: ``osnet_x0_25``, ``(256, 128)`` (height
            and width in pixels), ``none`` or ``bnneck``.
        input: for graphs that others exported: ``openvino``, ``torchreid``, ``fastreid``,
            ``imagenet``, or the path of a JSON card.

    Attributes:
        rgb: the embedder underneath, which takes every array for RGB.

    Raises:
        InputError: a checkpoint, engine, device or precision that cannot be used.
    """

    def __init__(
        self,
        checkpoint: str | PathLike[str] | None = None,
        engine: str = "auto",
        device: str = "auto",
        normalize: bool = True,
        flip: bool = False,
        precision: str = "auto",
        *,
        backbone: str | None = None,
        size: tuple[int, int] | None = None,
        neck: str | None = None,
        input: str | None = None,
    ) -> None:
        path = DEFAULT_CHECKPOINT if checkpoint is None else Path(checkpoint)
        found = find_checkpoint(path, backbone, size, neck, input)
        self.rgb = embedder.Embedder(
            found, engine, device, normalize=normalize, flip=flip, precision=precision
        )

    def __call__(
        self, images: Image | Iterable[Image], channels: Channels | None = None
    ) -> NDArray[np.float32]:
        """Embed one image or several.

        Args:
            images: files, Pillow images and (H, W, 3) uint8 arrays, mixed; one of them; or an
                (N, H, W, 3) uint8 array.
            channels: colour order of the arrays: ``rgb``, or ``bgr`` for OpenCV's frames. Files
                and Pillow images know theirs.

        Returns:
            (N, D) float32, a row per image in input order; N is 1 for a single image.

        Raises:
            InputError: an image that cannot be read, an array without ``channels``, or one that is
                not (H, W, 3) uint8.
        """
        rows = [batch.embeddings for batch in self.stream(as_images(images), channels)]
        return np.concatenate(rows) if rows else np.empty((0, self.dim), np.float32)

    def stream(
        self,
        images: Iterable[Image],
        channels: Channels | None = None,
        on_error: embedder.OnError | None = None,
    ) -> Iterator[embedder.EmbeddedBatch]:
        """Embed any number of images in constant memory.

        Args:
            images: taken as they are needed.
            channels: as in a call.
            on_error: called with the row and the error of each unreadable image, whose row is then
                left out; by default the first error is raised.

        Yields:
            Batches with ``rows`` (n,) int64, ``embeddings`` (n, D) float32 and ``end``, the number
            of images done, in input order.
        """
        return self.rgb.stream(to_rgb(images, channels), on_error)

    def similarity(self, first: Image, second: Image, channels: Channels | None = None) -> float:
        """Cosine of the embeddings of two images, from -1 to 1; higher is more alike.

        Args:
            first, second: a file, a Pillow image or an (H, W, 3) uint8 array each.
            channels: as in a call.

        Raises:
            InputError: as in a call.
        """
        a, b = self([first, second], channels).astype(np.float64)
        length = max(float(np.linalg.norm(a) * np.linalg.norm(b)), np.finfo(np.float64).tiny)
        return float(a @ b) / length

    @property
    def dim(self) -> int:
        """Length D of an embedding."""
        return self.rgb.dim

    @property
    def fingerprint(self) -> str:
        """SHA-256 that tells models apart, 64 hexadecimal digits."""
        return self.rgb.fingerprint

    def __repr__(self) -> str:
        card, inner = self.rgb.card, self.rgb
        return (
            f"Embedder({card.backbone}, input {card.size[0]}x{card.size[1]}, {self.dim} "
            f"dimensions, {inner.engine} in {inner.precision} on {inner.device})"
        )
