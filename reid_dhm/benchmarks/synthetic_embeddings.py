"""Made-up embeddings that lie as those of a re-identification model do, in any number.

Every person has a direction, every image of the person strays from it, and a tracklet's mean
strays less. Directions and strays are normally distributed with variances that fall exponentially
over axes, so that few axes carry most, and some images stray much more than others. The
constants were chosen so that single images resemble those of the package's own model
(MobileNetV2, 1,280 dimensions) on 2,147 images of 120 people of Market-1501's test set:

| | Market-1501 | made up |
| --- | --- | --- |
| cosine of images of one person (there: two cameras): mean, spread | 0.48, 0.16 | 0.49, 0.16 |
| cosine of images of two people: mean, spread | 0.00, 0.13 | 0.00, 0.13 |
| axes that carry 50 %, 90 %, 99 % of the variance | 17, 90, 282 | 16, 95, 256 |
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_PERSON_DECAY, _STRAY_DECAY = 16.0, 75.0  # axes over which variance falls to 1 / e
_SHARED = 0.25  # part of the straying that goes along the axes that tell people apart
_STRAY = 0.95  # variance of straying, where that of directions is 1
_UNEVEN = 0.4  # spread of the logarithm of how much an image strays
_IMAGES = 4  # that a tracklet's mean is of
_ROWS = 2**15


class MadeUpPeople:
    """A crowd whose images and tracklets can be drawn without end.

    Args:
        num_people: who are there.
        dim: length of an embedding.
        seed: of all that is drawn.
    """

    def __init__(self, num_people: int, dim: int = 512, seed: int = 0) -> None:
        self._random = np.random.default_rng(seed)
        rotation = np.linalg.qr(self._random.standard_normal((dim, dim)))[0]
        person = _falling(dim, _PERSON_DECAY)
        stray = _STRAY * (_SHARED * person + (1 - _SHARED) * _falling(dim, _STRAY_DECAY))
        self._stray_axes = (np.sqrt(stray)[:, None] * rotation).astype(np.float32)
        axes = (np.sqrt(person)[:, None] * rotation).astype(np.float32)
        self._directions = self._random.standard_normal((num_people, dim), np.float32) @ axes

    def tracklets(self, count: int) -> tuple[NDArray[np.float16], NDArray[np.int64]]:
        """(count, D) means of some images each, unit to float16's precision, and whose."""
        return self._some(count, _IMAGES)

    def images(self, count: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """(count, D) unit rows of single images, and whose."""
        rows, pids = self._some(count, 1)
        wide = rows.astype(np.float32)
        return wide / np.linalg.norm(wide, axis=1, keepdims=True), pids

    def _some(self, count: int, images: int) -> tuple[NDArray[np.float16], NDArray[np.int64]]:
        pids = self._random.integers(0, len(self._directions), count)
        rows = np.empty((count, self._directions.shape[1]), np.float16)
        for start in range(0, count, _ROWS):
            part = self._directions[pids[start : start + _ROWS]]
            noise = self._random.standard_normal(part.shape, np.float32) @ self._stray_axes
            much = np.exp(_UNEVEN * self._random.standard_normal((len(part), 1), np.float32))
            part = part + noise * much / np.sqrt(np.float32(images))
            rows[start : start + _ROWS] = part / np.linalg.norm(part, axis=1, keepdims=True)
        return rows, pids


def _falling(dim: int, decay: float) -> NDArray[np.float64]:
    """Variances along axes, falling to 1 / e over ``decay`` of them, of sum 1."""
    variance = np.exp(-np.arange(dim) / decay)
    return variance / variance.sum()
