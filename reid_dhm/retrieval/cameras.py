"""Which camera finds whom in which other camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class CameraPairs:
    """Figures of every pair of cameras: queries of the one against the gallery of the other.

    Attributes:
        query_cameras: (A,) int64 camids, ascending.
        gallery_cameras: (B,) int64 camids, ascending.
        rank1: (A, B) float64, NaN where no query of the row has a correct picture in the column.
        mean_ap: (A, B) float64, NaN likewise.
        num_queries: (A, B) int64 queries counted.
    """

    query_cameras: NDArray[np.int64]
    gallery_cameras: NDArray[np.int64]
    rank1: NDArray[np.float64]
    mean_ap: NDArray[np.float64]
    num_queries: NDArray[np.int64]
