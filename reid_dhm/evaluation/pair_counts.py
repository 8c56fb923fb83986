"""Count the scores of all pairs on a grid that is fine enough for thresholds.

Each pair that the protocol ranks is counted in the bin of its exact score (:meth:`.Space.exact`).
:mod:`.pair_scores` derives rates, thresholds and calibration from the counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reid_dhm.retrieval.distances import Space, normalised
from reid_dhm.retrieval.embeddings import EmbeddingSet
from reid_dhm.retrieval.parallel import parallel_map
from reid_dhm.retrieval.ranking.counting import same_person_pairs

_STEPS = 2**16  # bins from the lowest possible score to the highest
# (queries, gallery rows) of a tile: its float64 copies fit in the cache of a core.
_TILE = {"cpu": (512, 1024), "cuda": (4096, 8192)}
_ROUNDING = 2.0**-40  # of a float64 product of unit vectors: 2⁻⁵³ √dim, with a wide margin
_ROUNDING_OF_STEPS = 2.0**-30  # of a position on the grid: 2⁻⁵³ · 2¹⁶, with a wide margin


@dataclass(frozen=True, eq=False)
class Grid:
    """Score bins of equal width.

    Attributes:
        width: of a bin.
        top: the highest possible score, the centre of the last bin.
        edges: (N + 1,) float64 ascending.
    """

    width: float
    top: float
    edges: NDArray[np.float64]

    @classmethod
    def of(cls, lowest: float, top: float) -> Grid:
        """A grid whose first bin is centred at ``lowest`` and whose last at ``top``."""
        width = (top - lowest) / _STEPS
        place = np.arange(_STEPS + 2, dtype=np.float64)
        return cls(width, top, top + width * (place - _STEPS - 0.5))

    @property
    def size(self) -> int:
        """N, the number of bins."""
        return len(self.edges) - 1

    def count(self, scores: Tensor) -> Tensor:
        """(N,) int64, how many of the float64 ``scores`` lie in each bin."""
        return torch.bincount(self.step(scores), minlength=self.size)

    def step(self, scores: Tensor) -> Tensor:
        """The int64 bin of each of the float64 ``scores``: edges[i] <= score < edges[i + 1]."""
        edges = torch.from_numpy(self.edges).to(scores.device)
        return torch.searchsorted(edges, scores, right=True) - 1


def count_pairs(
    query: EmbeddingSet, gallery: EmbeddingSet, metric: str, camera_rule: bool, device: torch.device
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Count all pairs block by block, without keeping all scores or pairs in memory.

    Returns:
        edges: (N + 1,) float64 bin edges, for ``cosine`` around -1 … 1, for ``euclidean`` around
            minus the largest possible distance … 0.
        same, different: (N,) int64 counts of same-person and different-person pairs.

    Raises:
        InputError: an unknown metric, or a zero row under ``cosine``.
    """
    space = Space.of(metric, torch.from_numpy(gallery.embeddings).to(device))
    queries = torch.from_numpy(query.embeddings).to(device)
    norms = space.query_norms(queries)
    grid = (
        Grid.of(-1.0, 1.0) if metric == "cosine" else Grid.of(-_max_distance(space, queries), 0.0)
    )
    everything = _count_all(space, queries, norms, grid)
    same, ignored = torch.zeros_like(everything), torch.zeros_like(everything)
    for pairs in same_person_pairs(
        query.pids, query.camids, gallery.pids, gallery.camids, camera_rule
    ):
        rows = [torch.from_numpy(index).to(device) for index in (pairs.query, pairs.gallery)]
        scores = _scores(space, space.exact_many(queries, norms, *rows))
        left_out = torch.from_numpy(pairs.ignored).to(device)
        same += grid.count(scores[~left_out])
        ignored += grid.count(scores[left_out])
    different = everything - same - ignored
    return grid.edges, same.cpu().numpy(), different.cpu().numpy()


def _max_distance(space: Space, queries: Tensor) -> float:
    """An upper bound, up to rounding, of the distance of a query and a gallery image."""
    both = (queries, space.gallery)
    ones = torch.ones(1, dtype=torch.float64, device=queries.device)
    radii = [
        max(
            float(space.coarse(rows, ones).square().sum(1).max()) for rows in embeddings.split(4096)
        )
        for embeddings in both
    ]
    return space.scale * sum(radius**0.5 for radius in radii) or 1.0


def _count_all(space: Space, queries: Tensor, norms: Tensor, grid: Grid) -> Tensor:
    """(N,) int64 pairs of every query with every gallery image, on all threads."""
    device = queries.device
    height, width = _TILE[device.type]
    total = torch.zeros(grid.size, dtype=torch.int64, device=device)
    lock = Lock()

    def chunk(start: int) -> None:
        stop = start + width
        right = _rows(space, space.gallery[start:stop], space.norms[start:stop])
        counts = torch.zeros_like(total)
        for first in range(0, len(queries), height):
            block = slice(first, first + height)
            left = _rows(space, queries[block], norms[block])
            low, high = _steps(space.metric, left, right, grid, space.scale)
            # Pairs that rounding could move to another bin, a few in a million.
            row, column = (low != high).nonzero(as_tuple=True)
            exact = space.exact(queries, norms, row + first, column + start)
            low[row, column] = grid.step(_scores(space, exact))
            counts += torch.bincount(low.flatten(), minlength=grid.size)
        with lock:  # integers: the order in which chunks arrive does not matter
            total.add_(counts)

    parallel_map(chunk, range(0, len(space.gallery), width), device)
    return total


def _rows(space: Space, rows: Tensor, norms: Tensor) -> Tensor:
    """(n, D) float64: unit rows for cosines, centred ones for distances."""
    return normalised(rows, norms) if space.metric == "cosine" else space.coarse(rows, norms)


def _scores(space: Space, exact: Tensor) -> Tensor:
    """Results of :meth:`Space.exact` as scores, with distances not squared."""
    return exact if space.metric == "cosine" else -(-exact).sqrt()


def _steps(
    metric: str, left: Tensor, right: Tensor, grid: Grid, scale: float
) -> tuple[Tensor, Tensor]:
    """(B, C) int64, the lowest and the highest bin that the score of each pair may lie in."""
    product = torch.mm(left, right.T)
    if metric == "cosine":
        per_step, error = 1 / grid.width, _ROUNDING / grid.width
        last = grid.size - 0.5 - grid.top / grid.width
        low = product.mul(per_step).add_(last - error - _ROUNDING_OF_STEPS).long()
        return low, product.mul_(per_step).add_(last + error + _ROUNDING_OF_STEPS).long()
    squares = left.square().sum(1), right.square().sum(1)
    squared = product.mul_(-2).add_(squares[0][:, None]).add_(squares[1])
    error = _ROUNDING * float(squares[0].max() + squares[1].max())
    per_step, last = -scale / grid.width, grid.size - 0.5
    far = torch.add(squared, error).sqrt_().mul_(per_step).add_(last - _ROUNDING_OF_STEPS)
    near = squared.sub_(error).clamp_(min=0).sqrt_().mul_(per_step).add_(last + _ROUNDING_OF_STEPS)
    return far.long(), near.long()
