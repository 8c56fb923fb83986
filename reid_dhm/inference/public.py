"""The embedder of the public interface: files, Pillow images and arrays, with their colour order.

Inside the package arrays are RGB and :class:`reid_dhm.inference.embedder.Embedder` takes them
without a question; here the caller says what they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from reid_dhm.errors import InputError
from reid_dhm.inference import embedder, reading
from reid_dhm.inference.checkpoints import open_checkpoint
from reid_dhm.inference.default import DEFAULT_CHECKPOINT

if TYPE_CHECKING:
    import PIL.Image

Image: TypeAlias = "str | Path | PIL.Image.Image | np.ndarray"
"""An image file, a Pillow image, or (H, W, 3) uint8 pixels of any size."""

Channels = Literal["rgb", "bgr"]


class Embedder:
    """Turns images of people into embeddings.

    Args:
        checkpoint: a run folder, a ``.safetensors`` with its card, an exported ``.onnx`` or
            ``.xml``, or weights that others trained; ``None`` for the package's own model.
        engine: ``torch``, ``openvino``, ``onnxruntime``, or ``auto`` for the fastest that is
            installed and agrees with eager PyTorch in float32 (cosine ≥ 0.999).
        device: ``auto`` (a GPU if there is one), ``cpu``, ``cuda`` or ``cuda:N``.
        normalize: return unit rows; otherwise embeddings as the model gives them.
        flip: average each embedding with its mirrored image's, before normalising.
        precision: ``auto``, ``float32``, ``bf16`` or ``fp16``.
        backbone, size, neck: for weights without a card, see
            :func:`~reid_dhm.inference.checkpoints.open_checkpoint`.

    Attributes:
        rgb: the embedder underneath, which takes every array for RGB.

    Raises:
        InputError: a checkpoint, engine, device or precision that cannot be used.
    """

    def __init__(
        self,
        checkpoint: str | Path | None = None,
        engine: str = "auto",
        device: str = "auto",
        normalize: bool = True,
        flip: bool = False,
        precision: str = "auto",
        *,
        backbone: str | None = None,
        size: tuple[int, int] | None = None,
        neck: str | None = None,
    ) -> None:
        opened = open_checkpoint(checkpoint or DEFAULT_CHECKPOINT, backbone, size, neck)
        self.rgb = embedder.Embedder(
            opened, engine, device, normalize=normalize, flip=flip, precision=precision
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
        if channels not in (None, "rgb", "bgr"):
            raise InputError(f"channels is {channels!r}: use 'rgb' or 'bgr'")
        batches = self.rgb.stream(_to_rgb(_as_iterable(images), channels))
        rows = [batch.embeddings for batch in batches]
        return np.concatenate(rows) if rows else np.empty((0, self.dim), np.float32)

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


def _as_iterable(images: Image | Iterable[Image]) -> Iterable[Image]:
    single = isinstance(images, str | Path) or _is_pillow(images)
    if single or (isinstance(images, np.ndarray) and images.ndim < 4):
        return [images]  # type: ignore[list-item]
    if not isinstance(images, Iterable):
        raise InputError(f"images has type {type(images).__name__}: give an image or a list of images")
    return images


def _to_rgb(images: Iterable[Image], channels: Channels | None) -> Iterator[reading.Image]:
    for row, image in enumerate(images):
        if isinstance(image, np.ndarray):
            if channels is None:
                raise InputError(
                    f"image {row} is an array of unknown colour order: pass channels='rgb', or "
                    "channels='bgr' for frames that OpenCV read"
                )
            yield image[..., ::-1] if channels == "bgr" else image
        elif _is_pillow(image):
            yield _pillow_pixels(image)
        else:
            yield image  # type: ignore[misc]  # a file; anything else is refused where it is read


def _is_pillow(image: object) -> bool:
    return any(kind.__module__ == "PIL.Image" for kind in type(image).__mro__)


def _pillow_pixels(image: Any) -> np.ndarray:
    """(H, W, 3) uint8 RGB of a Pillow image, as reading its file gives them."""
    from PIL import ImageOps

    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I"):  # 16 bits, which Pillow would clip to 255
        grey = np.asarray(upright).clip(0, 65535).astype(np.uint16) >> 8
        return np.repeat(grey.astype(np.uint8)[:, :, None], 3, axis=2)
    return np.asarray(upright.convert("RGB"))
