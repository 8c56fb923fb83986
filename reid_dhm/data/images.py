"""Reading and resizing image files, and checking that all files of a dataset can be read.

Every image file of the package is read here. Augmentation is :mod:`reid_dhm.data.augmentation`'s.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from reid_dhm.data.samples import Sample
from reid_dhm.errors import InputError, NotFoundError
from reid_dhm.text import printable

# Pillow warns of images that are refused here in any case.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

MAX_PIXELS = 64_000_000
"""Pixels above which an image is refused before it is decoded (192 MB as RGB). 8K frames and most
photos of phones pass."""

_MEND = "copy what is damaged again from its source, or take it out of the data"
_EXIF_ORIENTATION = 0x0112
_NAMED_FAULTS = 5
_IMAGES_PER_JOB = 64


class _UnreadableError(Exception):
    """The reason that an image cannot be used: a sentence without its subject, the file."""

    def __init__(self, reason: str, remedy: str = _MEND, missing: bool = False) -> None:
        super().__init__(reason)
        self.remedy, self.missing = remedy, missing


def read_image(path: Path | str) -> np.ndarray:
    """Read one image file as (H, W, 3) uint8 RGB, turned upright by its EXIF orientation.

    Grey images get three equal channels, alpha is dropped, 16 bits are scaled to 8. Of several
    images in one file (GIF, TIFF) the first is read.

    Raises:
        NotFoundError: no such file.
        InputError: the file is empty, truncated, corrupt, no image, or has over :data:`MAX_PIXELS`.
    """
    try:
        return _read(Path(path))
    except _UnreadableError as fault:
        kind = NotFoundError if fault.missing else InputError
        raise kind(f"{printable(path)} {fault}: {fault.remedy}") from None


def decode_image(data: bytes, name: str) -> np.ndarray:
    """Decode the bytes of an image file as :func:`read_image` does; ``name`` says whose they are.

    Raises:
        InputError: as :func:`read_image`.
    """
    try:
        return _decode_image(data)
    except _UnreadableError as fault:
        raise InputError(f"{name} {fault}: {fault.remedy}") from None


def upright_size(path: Path) -> tuple[int, int]:
    """(height, width) in pixels of the image as :func:`read_image` returns it, from its header.

    Raises:
        InputError: as :func:`read_image`, where the header cannot be read.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
            on_its_side = image.getexif().get(_EXIF_ORIENTATION, 1) >= 5
            # some releases of Pillow swap the sides of a TIFF themselves
            known = image.format != "TIFF"
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        known = False
    if not known:
        height, width, _ = read_image(path).shape  # raises what is wrong, if anything is
        return height, width
    return (width, height) if on_its_side else (height, width)


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize (h, w, 3) uint8 to (*size, 3): averaged over areas if it shrinks, else bilinear."""
    if image.shape[:2] == size:
        return image
    height, width = size
    shrinks = image.shape[0] >= height and image.shape[1] >= width
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(image, (width, height), interpolation=interpolation)


def check_images(
    samples: Iterable[Sample],
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Decode every image of ``samples`` once, so that a bad one is found before training starts.

    Damage that leaves a decodable file (altered bytes inside a JPEG's coefficients) shows in no
    decoder's result and is not found.

    Args:
        samples: any splits, one after the other; an image listed twice is read once.
        workers: decoding threads; by default one a core and a few more.
        progress: called with the images done and the images in all.

    Raises:
        InputError: naming the first bad files and their number, if there are any.
    """
    paths = list(dict.fromkeys(sample.path for sample in samples))
    jobs = [paths[i : i + _IMAGES_PER_JOB] for i in range(0, len(paths), _IMAGES_PER_JOB)]
    faults: list[str] = []
    done = 0
    with ThreadPoolExecutor(workers) as pool:
        for job, found in zip(jobs, pool.map(_faults, jobs), strict=True):
            faults += found
            done += len(job)
            if progress is not None:
                progress(done, len(paths))
    if faults:
        rest = f" and {len(faults) - _NAMED_FAULTS} more" if len(faults) > _NAMED_FAULTS else ""
        raise InputError(
            f"{len(faults)} of {len(paths)} images cannot be read: "
            f"{', '.join(faults[:_NAMED_FAULTS])}{rest}; {_MEND}"
        )


def _faults(paths: Sequence[Path]) -> list[str]:
    faults = []
    for path in paths:
        try:
            _read(path)
        except _UnreadableError as fault:
            faults.append(f"{printable(path)} {fault}")
    return faults


def _read(path: Path) -> np.ndarray:
    # Reading the bytes in Python, not by cv2.imread, serves non-ASCII paths on every platform.
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise _UnreadableError("does not exist", remedy="check the path", missing=True) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", error)
        raise _UnreadableError(f"cannot be opened ({reason})") from None
    return _decode_image(data)


def _decode_image(data: bytes) -> np.ndarray:
    if not data:
        raise _UnreadableError("is empty (0 bytes)")
    if _is_cut_jpeg(data):
        raise _UnreadableError("is a truncated JPEG")
    _check_pixels(data)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:  # refused before decoding, e.g. for the size its header claims
        image = None
    if image is None:
        raise _UnreadableError("is truncated, corrupt or not an image")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _check_pixels(data: bytes) -> None:
    """Refuse an image whose header claims too many pixels."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            width, height = image.size
    except Image.DecompressionBombError:
        claim = "far more"
    except (OSError, SyntaxError, ValueError):  # not a header that Pillow knows
        return
    else:
        if width * height <= MAX_PIXELS:
            return
        claim = f"{width}×{height}"
    raise _UnreadableError(
        f"has {claim} pixels, and {MAX_PIXELS / 1e6:g} million are the most that are read",
        remedy="make it smaller, or crop the person",
    )


def _is_cut_jpeg(data: bytes) -> bool:
    """Whether a JPEG lacks the end-of-image marker after its image data (ITU-T T.81, annex B).

    OpenCV before 4.12 fills what is missing with grey, and every version does so where a broken
    copy left zeros. The header's segments are stepped over, because an EXIF thumbnail has an
    end-of-image marker of its own; bytes after the image (phones append videos) do no harm.
    """
    if not data.startswith(b"\xff\xd8"):
        return False
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xDA:
            return data.find(b"\xff\xd9", position) < 0
        if marker == 0xFF:  # a fill byte before the marker
            position += 1
        else:
            position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return position + 4 > len(data)
