"""Images as users of the public interface give them: files, PIL images, arrays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from os import PathLike
from typing import TypeAlias

import numpy as np
from PIL import Image as PilImage
from PIL import ImageOps

from reid_dhm.errors import InputError

Image: TypeAlias = "str | PathLike[str] | PilImage.Image | np.ndarray"
"""An image file, a PIL image, or an (H, W, 3) uint8 array."""

CHANNELS = ("rgb", "bgr")


def as_list(images: Image | Sequence[Image]) -> list[Image]:
    """One image or several, as a list."""
    if isinstance(images, str | PathLike | PilImage.Image):
        return [images]
    if isinstance(images, np.ndarray) and images.ndim == 3:
        return [images]
    return list(images)


def to_rgb(images: Iterable[Image], channels: str | None) -> Iterator[str | np.ndarray]:
    """Files as they are, everything else as (H, W, 3) uint8 RGB.

    Args:
        images: any number, taken as they are needed.
        channels: ``rgb`` or ``bgr``, the order of the arrays' last axis.

    Raises:
        InputError: unknown ``channels``, or an array without it.
    """
    if channels not in (None, *CHANNELS):
        raise InputError(f"channels is {channels!r}: use 'rgb' or 'bgr'")
    for row, image in enumerate(images):
        if isinstance(image, PilImage.Image):
            yield np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
        elif isinstance(image, np.ndarray):
            if channels is None:
                raise InputError(
                    f"image {row} is an array of unknown color order: pass channels='rgb', or "
                    "channels='bgr' for what OpenCV reads"
                )
            yield np.ascontiguousarray(image[..., ::-1]) if channels == "bgr" else image
        else:
            yield str(image)
