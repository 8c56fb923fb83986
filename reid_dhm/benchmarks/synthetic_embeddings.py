"""Synthetic embeddings distributed like those of a re-identification model, in any number.

Every person has a direction, every image deviates from it, and the mean of a tracklet deviates
less. Directions and deviations are normally distributed with variances that fall exponentially
over axes, so that few axes carry most of the variance; the amount of deviation varies between
images. The constants were chosen so that single images resemble those of the packaged model
(MobileNetV2, 1,280 dimensions) on 2,147 images of 120 people of Market-1501's test set:

| | Market-1501 | synthetic |
| --- | --- | --- |
| cosine of images of one person (there: two cameras): mean, spread | 0.48, 0.16 | 0.49, 0.16 |
| cosine of images of two people: mean, spread | 0.00, 0.13 | 0.00, 0.13 |
| axes that carry 50 %, 90 %, 99 % of the variance | 17, 90, 282 | 16, 95, 256 |
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_PERSON_DECAY, _DEVIATION_DECAY = 16.0, 75.0  # axes over which variance falls to 1 / e
_SHARED = 0.25  # share of the deviation along the axes that distinguish people
_DEVIATION = 0.95  # variance of deviations; that of directions is 1
_UNEVEN = 0.4  # standard deviation of the logarithm of an image's amount of deviation
_IMAGES = 4  # averaged in a tracklet's mean
_ROWS = 2**15


class SyntheticEmbeddings:
    """Draws embeddings of images and tracklets of a fixed set of people.

    Args:
        num_people: number of people.
        dim: length of an embedding.
        seed: fixes everything drawn.
    """

    def __init__(self, num_people: int, dim: int = 512, seed: int = 0) -> None:
        self._random = np.random.default_rng(seed)
        rotation = np.linalg.qr(self._random.standard_normal((dim, dim)))[0]
        person = _falling(dim, _PERSON_DECAY)
        deviation = _DEVIATION * (
            _SHARED * person + (1 - _SHARED) * _falling(dim, _DEVIATION_DECAY)
        )
        self._deviation_axes = (np.sqrt(deviation)[:, None] * rotation).astype(np.float32)
        axes = (np.sqrt(person)[:, None] * rotation).astype(np.float32)
        self._directions = self._random.standard_normal((num_people, dim), np.float32) @ axes

    def tracklets(self, count: int) -> tuple[NDArray[np.float16], NDArray[np.int64]]:
        """(count, D) unit means of four images each in float16, and their (count,) pids."""
        return self._draw(count, _IMAGES)

    def images(self, count: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """(count, D) float32 unit embeddings of single images, and their (count,) pids."""
        rows, pids = self._draw(count, 1)
        wide = rows.astype(np.float32)
        return wide / np.linalg.norm(wide, axis=1, keepdims=True), pids

    def _draw(self, count: int, images: int) -> tuple[NDArray[np.float16], NDArray[np.int64]]:
        pids = self._random.integers(0, len(self._directions), count)
        rows = np.empty((count, self._directions.shape[1]), np.float16)
        for start in range(0, count, _ROWS):
            part = self._directions[pids[start : start + _ROWS]]
            noise = self._random.standard_normal(part.shape, np.float32) @ self._deviation_axes
            amount = np.exp(_UNEVEN * self._random.standard_normal((len(part), 1), np.float32))
            part = part + noise * amount / np.sqrt(np.float32(images))
            rows[start : start + _ROWS] = part / np.linalg.norm(part, axis=1, keepdims=True)
        return rows, pids


def _falling(dim: int, decay: float) -> NDArray[np.float64]:
    """Variances of sum 1 along axes, falling to 1 / e every ``decay`` axes."""
    variance = np.exp(-np.arange(dim) / decay)
    return variance / variance.sum()
