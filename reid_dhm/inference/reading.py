"""From picture files and arrays to batches of one size, read ahead by threads, in input order."""

from __future__ import annotations

import os
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import torch

from reid_dhm.data.augmentation import resize
from reid_dhm.data.pictures import read_picture, resize_picture
from reid_dhm.errors import InputError

Picture: TypeAlias = "str | Path | np.ndarray"
"""A picture file, or (H, W, 3) uint8 RGB pixels of any size."""

READERS = min(8, os.cpu_count() or 1)


class PictureBatch(NamedTuple):
    """Some of the input, in order.

    Attributes:
        rows: (N,) int64, rows of the pictures in the input.
        pictures: (N, H, W, 3) uint8 RGB, those that could be read.
        faults: rows of the others, and what is wrong with each.
        end: the row behind the last one.
    """

    rows: np.ndarray
    pictures: np.ndarray
    faults: list[tuple[int, InputError]]
    end: int


def read_batches(
    pictures: Iterable[Picture], batch_size: int, size: tuple[int, int]
) -> Iterator[PictureBatch]:
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
    rows, readable, faults = [], [], []
    for row, picture in enumerate(pictures, start):
        try:
            pixels = picture if isinstance(picture, np.ndarray) else read_picture(picture)
            readable.append(_checked(pixels, row))
            rows.append(row)
        except InputError as error:
            faults.append((row, error))
    end = start + len(pictures)
    return PictureBatch(np.array(rows, np.int64), resize_all(readable, size), faults, end)


def _checked(pixels: np.ndarray, row: int) -> np.ndarray:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise InputError(
            f"picture {row} is an array of shape {pixels.shape} and type {pixels.dtype}: "
            "give (H, W, 3) uint8 RGB"
        )
    return pixels


def resize_all(pictures: Sequence[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """Resize N (h, w, 3) uint8 pictures to (N, H, W, 3) with the very pixels that training sees.

    Pictures no larger than the input are enlarged as
    :class:`~reid_dhm.data.augmentation.TestTransform` does with a set kept at its native size,
    those of one size together; others as :mod:`reid_dhm.data.loading` stores them.
    """
    same: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
    for index, picture in enumerate(pictures):
        same[picture.shape[:2]].append(index)
    resized = np.empty((len(pictures), *size, 3), np.uint8)
    for (height, width), indices in same.items():
        if height <= size[0] and width <= size[1]:
            stacked = np.stack([pictures[index] for index in indices])
            enlarged = resize(torch.from_numpy(stacked).permute(0, 3, 1, 2), size)
            resized[indices] = enlarged.permute(0, 2, 3, 1).numpy()
        else:
            for index in indices:
                resized[index] = resize_picture(pictures[index], size)
    return resized
