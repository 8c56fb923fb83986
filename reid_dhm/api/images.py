"""Images as users of the public interface give them: files, Pillow images, arrays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from os import PathLike
from typing import Literal, TypeAlias

import numpy as np
from PIL import Image as PilImage
from PIL import ImageOps

from reid_dhm.errors import InputError
from reid_dhm.inference import reading

Image: TypeAlias = "str | PathLike[str] | PilImage.Image | np.ndarray"
"""An image file, a Pillow image, or (H, W, 3) uint8 pixels of any size."""

Channels = Literal["rgb", "bgr"]


def as_images(images: Image | Iterable[Image]) -> Iterable[Image]:
    """One image or several, as several.

    Raises:
        InputError: neither an image nor iterable.
    """
    single = isinstance(images, str | PathLike | PilImage.Image)
    if single or (isinstance(images, np.ndarray) and images.ndim < 4):
        return [images]  # type: ignore[list-item]
    if not isinstance(images, Iterable):
        raise InputError(
            f"images has type {type(images).__name__}: give an image or a list of images"
        )
    return images


def to_rgb(images: Iterable[Image], channels: Channels | None) -> Iterator[reading.Image]:
    """Files as they are, everything else as (H, W, 3) RGB.

    Raises:
        InputError: an unknown value of ``channels``, or an array without it.
    """
    if channels not in (None, "rgb", "bgr"):
        raise InputError(f"channels is {channels!r}: use 'rgb' or 'bgr'")
    for row, image in enumerate(images):
        if isinstance(image, np.ndarray):
            if channels is None:
                raise InputError(
                    f"image {row} is an array of unknown colour order: pass channels='rgb', or "
                    "channels='bgr' for frames that OpenCV read"
                )
            yield image[..., ::-1] if channels == "bgr" else image
        elif isinstance(image, PilImage.Image):
            yield _pillow_pixels(image)
        else:
            yield str(image) if isinstance(image, PathLike) else image


def _pillow_pixels(image: PilImage.Image) -> np.ndarray:
    """(H, W, 3) uint8 RGB of a Pillow image, as reading its file gives them."""
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I"):  # 16 bits, which Pillow would clip to 255
        grey = np.asarray(upright).clip(0, 65535).astype(np.uint16) >> 8
        return np.repeat(grey.astype(np.uint8)[:, :, None], 3, axis=2)
    return np.asarray(upright.convert("RGB"))
