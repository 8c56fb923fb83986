"""Decodes uploaded images within limits of size."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from reid_dhm.data.images import MAX_PIXELS
from reid_dhm.service.errors import Problem

MAX_IMAGE_BYTES = 16 * 2**20

_FORMATS = ("JPEG", "PNG", "WEBP")


def decode_upload(data: bytes, name: str) -> NDArray[np.uint8]:
    """Decode a JPEG, PNG or WebP image, whatever its name or declared type.

    One library reads header and pixels, so that no image can claim one size to the check and
    another to the decoder.

    Args:
        data: the file.
        name: what messages call it.

    Returns:
        (H, W, 3) uint8 RGB, upright; the first image of a file with several.

    Raises:
        Problem: too large in bytes or pixels, damaged, or not an image of these formats.
    """
    if len(data) > MAX_IMAGE_BYTES:
        raise Problem(
            413,
            f"{name} has {len(data) / 2**20:.1f} MiB: the limit is {MAX_IMAGE_BYTES // 2**20} MiB",
        )
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise _too_many_pixels(name, f"{width}×{height} pixels")
            return _pixels(image)
    except Image.DecompressionBombError:
        raise _too_many_pixels(name, "far too many pixels") from None
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError):
        # Pillow's own exceptions are an OSError; damaged PNGs raise a SyntaxError.
        raise Problem(400, f"{name} is damaged or not an image: send JPEG, PNG or WebP") from None


def _too_many_pixels(name: str, claim: str) -> Problem:
    return Problem(
        413,
        f"{name} has {claim}: the limit is {MAX_PIXELS / 1e6:g} million; crop the person out of it",
    )


def _pixels(image: Image.Image) -> NDArray[np.uint8]:
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I"):  # 16 bits of grey
        grey = (np.asarray(upright, np.int64) >> 8).clip(0, 255).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    return np.asarray(upright.convert("RGB"))
