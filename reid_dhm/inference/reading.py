"""From image files and arrays to batches of one size, read ahead by threads, in input order."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np

from reid_dhm.data.images import read_image, resize_image
from reid_dhm.errors import InputError
from reid_dhm.inference.enlarging import Enlarger

Image: TypeAlias = "str | Path | np.ndarray"
"""An image file, or (H, W, 3) uint8 RGB pixels of any size."""

_ACCEPTED = "give files, or (H, W, 3) uint8 RGB arrays"

READERS = min(8, len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1)


class ImageBatch(NamedTuple):
    """Some of the input, in order.

    Attributes:
        rows: (N,) int64, rows of the readable images in the input.
        names: their names in messages: files, or rows.
        images: (N, H, W, 3) uint8 RGB, their pixels.
        faults: rows of the unreadable images, and their errors.
        end: the row after the last one.
    """

    rows: np.ndarray
    names: list[str]
    images: np.ndarray
    faults: list[tuple[int, InputError]]
    end: int


def read_batches(
    images: Iterable[Image], batch_size: int, size: tuple[int, int]
) -> Generator[ImageBatch, None, None]:
    """Read and resize images, ``batch_size`` at a time, at most a few batches ahead.

    Args:
        images: files, arrays of any sizes, or both; taken as they are needed.
        batch_size: images in a batch; the last may be smaller.
        size: (height, width) of the result.
    """
    waiting = iter(images)
    ahead: deque[Future[ImageBatch]] = deque()
    start = 0
    enlarger = Enlarger(size)
    pool = ThreadPoolExecutor(READERS, thread_name_prefix="reader")
    try:
        while chunk := list(islice(waiting, batch_size)):
            ahead.append(pool.submit(_read_batch, chunk, start, enlarger))
            start += len(chunk)
            if len(ahead) > READERS:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _read_batch(images: Sequence[Image], start: int, enlarger: Enlarger) -> ImageBatch:
    size = enlarger.size
    rows, names, readable, faults = [], [], [], []
    for row, image in enumerate(images, start):
        try:
            if isinstance(image, np.ndarray):
                pixels, name = _checked(image, row), f"image {row}"
            elif isinstance(image, str | Path):
                pixels, name = read_image(image), str(image)
            else:
                raise InputError(f"image {row} is a {type(image).__name__}: {_ACCEPTED}")
        except InputError as error:
            faults.append((row, error))
            continue
        # Immediately: a batch of large images would fill the memory.
        readable.append(pixels if _fits(pixels, size) else resize_image(pixels, size))
        names.append(name)
        rows.append(row)
    end = start + len(images)
    return ImageBatch(np.array(rows, np.int64), names, enlarger(readable), faults, end)


def _fits(pixels: np.ndarray, size: tuple[int, int]) -> bool:
    return pixels.shape[0] <= size[0] and pixels.shape[1] <= size[1]


def _checked(pixels: np.ndarray, row: int) -> np.ndarray:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise InputError(
            f"image {row} is an array of shape {pixels.shape} and type {pixels.dtype}: {_ACCEPTED}"
        )
    return pixels
