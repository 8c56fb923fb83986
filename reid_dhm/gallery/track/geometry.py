"""Arithmetic of boxes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def shared_area(left: NDArray[np.floating], right: NDArray[np.floating]) -> NDArray[np.float64]:
    """(N,) area that the boxes of (N, 4) and (N, 4) share, over that of the smaller one."""
    width = np.minimum(left[:, 2], right[:, 2]) - np.maximum(left[:, 0], right[:, 0])
    height = np.minimum(left[:, 3], right[:, 3]) - np.maximum(left[:, 1], right[:, 1])
    areas = [(box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1]) for box in (left, right)]
    shared = np.maximum(width, 0) * np.maximum(height, 0)
    return np.asarray(shared / np.maximum(np.minimum(*areas), 1e-9), np.float64)
