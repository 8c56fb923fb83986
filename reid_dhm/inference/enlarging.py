"""Enlarging images to a model's input with exactly the pixels that training sees.

Training enlarges a set that is kept at its native size in PyTorch; see
:class:`~reid_dhm.data.augmentation.TestTransform`. Loading PyTorch takes longer than enlarging a
few thousand images, so NumPy computes the same 8-bit values until then.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

_WORTH_TORCH = 4096
"""Images after which PyTorch, five times as fast, has paid for its loading."""


class Enlarger:
    """Enlarges images that are at most as large as a model's input.

    Args:
        size: (height, width) of the result.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size
        self._done = 0  # by NumPy; threads may miscount it, which costs speed alone

    def __call__(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """N (h, w, 3) uint8 images, none larger, to (N, H, W, 3) uint8."""
        by_shape: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
        for index, image in enumerate(images):
            by_shape[image.shape[:2]].append(index)
        resized = np.empty((len(images), *self.size, 3), np.uint8)
        for shape, indices in by_shape.items():
            if shape == self.size:
                for index in indices:
                    resized[index] = images[index]
            elif "torch" in sys.modules or self._done > _WORTH_TORCH:
                resized[indices] = _enlarge_in_torch([images[i] for i in indices], self.size)
            else:
                for index in indices:
                    resized[index] = enlarge(images[index], self.size)
                self._done += len(indices)
        return resized


def enlarge(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Enlarge one (h, w, 3) uint8 image to (*size, 3), bilinear, bit for bit as PyTorch does."""
    height, width, _ = image.shape
    columns = image.transpose(1, 0, 2).reshape(width, height * 3)
    wide = _enlarge_rows(columns, size[1]).reshape(size[1], height, 3).transpose(1, 0, 2)
    return _enlarge_rows(wide.reshape(height, -1), size[0]).reshape(*size, 3)


def _enlarge_rows(rows: np.ndarray, count: int) -> np.ndarray:
    """(n, K) uint8 to (count, K) uint8."""
    if len(rows) == count:
        return rows
    taps, precision = _taps(len(rows), count)
    values = rows.astype(np.int32)
    total = np.full((count, rows.shape[1]), 1 << (precision - 1), np.int32)  # rounds half up
    for index, weight in taps:
        term = values.take(index, axis=0)
        term *= weight
        total += term
    return (total >> precision).astype(np.uint8)


@lru_cache(maxsize=256)
def _taps(old: int, new: int) -> tuple[list[tuple[np.ndarray, np.ndarray]], int]:
    """Rows and integer weights whose sum, shifted right by the precision, is an enlarged row.

    The weights of ``upsample_bilinear2d_aa`` for uint8 (ATen, ``UpSampleKernel.cpp``): a triangle
    of one input pixel to either side, normalised, in as many bits as 16-bit integers hold.
    """
    center = old / new * (np.arange(new) + 0.5)
    first = np.maximum((center - 0.5).astype(np.int64), 0)
    last = np.minimum((center + 1.5).astype(np.int64), old)
    index = first[:, None] + np.arange((last - first).max())
    weights = np.maximum(1 - np.abs(index - center[:, None] + 0.5), 0) * (index < last[:, None])
    weights /= weights.sum(axis=1, keepdims=True)
    precision = 0
    while precision < 22 and int(0.5 + weights.max() * (1 << (precision + 1))) < 1 << 15:
        precision += 1
    fixed = (0.5 + weights * (1 << precision)).astype(np.int32)
    index = np.minimum(index, old - 1)
    return [(index[:, j], fixed[:, j : j + 1]) for j in range(index.shape[1])], precision


def _enlarge_in_torch(images: Sequence[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """N (h, w, 3) uint8 images of one shape to (N, H, W, 3)."""
    import torch

    from reid_dhm.data.augmentation import resize

    stacked = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    return resize(stacked, size).permute(0, 2, 3, 1).numpy()
