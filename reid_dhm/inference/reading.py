"""From picture files and arrays to batches of one size, read ahead by threads, in input order."""

from __future__ import annotations

import os
import sys
from collections import defaultdict, deque
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import torch

from reid_dhm.data.augmentation import resize
from reid_dhm.data.images import read_picture, resize_picture
from reid_dhm.errors import InputError

Picture: TypeAlias = "str | Path | np.ndarray"
"""A picture file, or (H, W, 3) uint8 RGB pixels of any size."""

_PICTURES = "give files, or (H, W, 3) uint8 RGB arrays"

READERS = min(8, len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1)


class PictureBatch(NamedTuple):
    """Some of the input, in order.

    Attributes:
        rows: (N,) int64, rows of the pictures in the input.
        pictures: (N, H, W, 3) uint8 RGB, those that could be read.
        faults: rows of the others, and what is wrong with each.
        names: what messages call the pictures: their files, or their rows.
        end: the row behind the last one.
    """

    rows: np.ndarray
    names: list[str]
    pictures: np.ndarray
    faults: list[tuple[int, InputError]]
    end: int


def read_batches(
    pictures: Iterable[Picture], batch_size: int, size: tuple[int, int]
) -> Generator[PictureBatch, None, None]:
    """Read and resize pictures, ``batch_size`` at a time; a few batches ahead, never more.

    Args:
        pictures: files, arrays of any sizes, or both; taken as they are needed.
        batch_size: pictures in a batch; the last may be smaller.
        size: (height, width) that all are resized to.
    """
    waiting = iter(pictures)
    ahead: deque[Future[PictureBatch]] = deque()
    start = 0
    pool = ThreadPoolExecutor(READERS, thread_name_prefix="reader")
    try:
        while chunk := list(islice(waiting, batch_size)):
            ahead.append(pool.submit(_read_batch, chunk, start, size))
            start += len(chunk)
            if len(ahead) > READERS:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _read_batch(pictures: Sequence[Picture], start: int, size: tuple[int, int]) -> PictureBatch:
    rows, names, readable, faults = [], [], [], []
    for row, picture in enumerate(pictures, start):
        try:
            if isinstance(picture, np.ndarray):
                pixels, name = _checked(picture, row), f"picture {row}"
            elif isinstance(picture, str | Path):
                pixels, name = read_picture(picture), str(picture)
            else:
                raise InputError(f"picture {row} is a {type(picture).__name__}: {_PICTURES}")
        except InputError as error:
            faults.append((row, error))
            continue
        # At once: a batch of large pictures would fill the memory.
        readable.append(pixels if _fits(pixels, size) else resize_picture(pixels, size))
        names.append(name)
        rows.append(row)
    end = start + len(pictures)
    resized = _enlarge(readable, size)
    return PictureBatch(np.array(rows, np.int64), names, resized, faults, end)


def _fits(pixels: np.ndarray, size: tuple[int, int]) -> bool:
    return pixels.shape[0] <= size[0] and pixels.shape[1] <= size[1]


def _checked(pixels: np.ndarray, row: int) -> np.ndarray:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise InputError(
            f"picture {row} is an array of shape {pixels.shape} and type {pixels.dtype}: "
            f"{_PICTURES}"
        )
    return pixels


def _enlarge(pictures: Sequence[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """Enlarge N (h, w, 3) uint8 pictures to (N, H, W, 3) with the very pixels that training sees.

    As :class:`~reid_dhm.data.augmentation.TestTransform` does with a set kept at its native size,
    those of one size together. Larger pictures are made smaller as :mod:`reid_dhm.data.loading`
    stores them, one by one.
    """
    same: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
    for index, picture in enumerate(pictures):
        same[picture.shape[:2]].append(index)
    resized = np.empty((len(pictures), *size, 3), np.uint8)
    for (height, width), indices in same.items():
        if (height, width) == size:
            for index in indices:
                resized[index] = pictures[index]
            continue
        stacked = np.stack([pictures[index] for index in indices])
        enlarged = resize(torch.from_numpy(stacked).permute(0, 3, 1, 2), size)
        resized[indices] = enlarged.permute(0, 2, 3, 1).numpy()
    return resized
