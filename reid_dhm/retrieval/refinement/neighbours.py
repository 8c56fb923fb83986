"""The nearest neighbours and the farthest image of each of N images, from half a product.

Distances are symmetric, so each tile off the diagonal is multiplied once and read in both
directions. Nothing of size N×N is kept. The float32 product decides clear cases and
:meth:`.Space.exact` the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from reid_dhm.devices import full_float32
from reid_dhm.retrieval.distances import Space
from reid_dhm.retrieval.index import GalleryIndex
from reid_dhm.retrieval.parallel import parallel_map

TILE = {"cpu": 1024, "cuda": 8192}  # images on a side
_SEGMENT = 16  # entries of a tile that are skipped if their highest is too low
_SLACK = 8  # candidates beyond those asked for, so that rounding rarely decides at the end
_TASK = 1024  # rows or pairs per task of a thread
_PAIRS = 256  # pairs subtracted at a time: they fit in the cache
_LOWEST = torch.finfo(torch.float32).min

Entries = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True, eq=False)
class Images:
    """N images prepared for the float32 product; create them with :meth:`of`.

    Attributes:
        space: a space whose gallery is these images.
        rows: (N, D) float32, :meth:`Space.coarse`. Squared distances below are between these rows:
            in units of the space's scale, under ``cosine`` between normalised embeddings.
        half: (N,) float32, half of |row|².
        tolerance: (N,) float64, how far float32 may put minus half a squared distance of each
            image from :meth:`Space.exact`.
    """

    space: Space
    rows: Tensor
    half: Tensor
    tolerance: Tensor

    @classmethod
    def of(cls, metric: str, embeddings: Tensor) -> Images:
        """Prepare (N, D) float32 embeddings on the device of the computation."""
        space = Space.of(metric, embeddings)

        def task(rows: slice) -> tuple[Tensor, Tensor]:
            coarse = space.coarse(embeddings[rows], space.norms[rows])
            return coarse.float(), coarse.square().sum(1)

        starts = range(0, len(embeddings), _TASK)
        parts = parallel_map(task, [slice(s, s + _TASK) for s in starts], embeddings.device)
        square = torch.cat([part for _, part in parts])
        tolerance = space.tolerance(square, square.max()) + 2.0**-22 * square
        return cls(space, torch.cat([rows for rows, _ in parts]), (square / 2).float(), tolerance)

    def __len__(self) -> int:
        return len(self.rows)

    def squared_distances(self, left: Tensor, right: Tensor) -> Tensor:
        """(n,) float32 squared distances of the pairs of images (n,) ``left`` and ``right``."""

        def task(pairs: tuple[Tensor, Tensor]) -> Tensor:
            parts = zip(*(rows.split(_PAIRS) for rows in pairs), strict=True)
            return torch.cat([self._squared(*part) for part in parts])

        tasks = list(zip(left.split(_TASK), right.split(_TASK), strict=True))
        return torch.cat([self.half[:0], *parallel_map(task, tasks, self.rows.device)])

    def _squared(self, left: Tensor, right: Tensor) -> Tensor:
        difference = self.rows.index_select(0, left) - self.rows.index_select(0, right)
        return difference.square_().sum(1)


@dataclass(frozen=True, eq=False)
class Neighbourhoods:
    """Neighbours of each of N images.

    Attributes:
        nearest: (N, k) int64: the image itself, then the others, closest first, equal ones by
            row; k is at most N.
        farthest: (N,) float32, squared distance to the farthest image; infinite where all
            images coincide.
    """

    nearest: NDArray[np.int64]
    farthest: Tensor


def neighbourhoods(images: Images, k: int) -> Neighbourhoods:
    """Find the k nearest images of each image, and how far its farthest is.

    Neighbours are ranked by :meth:`Space.exact`; they do not depend on tiles, threads or device.
    Memory: a few more than k candidates per image, and a tile per thread.

    Args:
        images: computed on the device of their rows.
        k: 1 or more.
    """
    total = len(images)
    k = min(k, total)
    kept = min(k + _SLACK, total)
    device = images.rows.device
    side = min(TILE[device.type], -(-total // _SEGMENT) * _SEGMENT)
    lacking = -total % side
    rows = pad(images.rows, (0, 0, 0, lacking)).split(side)
    half = pad(images.half, (0, lacking), value=torch.inf).split(side)
    blocks = [_Block.empty(side, kept, start, device) for start in range(0, total, side)]

    def task(tile: tuple[int, int]) -> None:
        i, j = tile
        # Minus half the squared distance; -inf in what was padded.
        values = torch.mm(rows[i], rows[j].T).sub_(half[j]).sub_(half[i][:, None])
        blocks[i].meet(_by_row(values), blocks[j].start)
        within = values[: total - i * side, : total - j * side]
        blocks[i].reach(within.amin(1))
        if i != j:
            blocks[j].meet(_by_column(values), blocks[i].start)
            blocks[j].reach(within.amin(0))

    # The diagonal first, then the tiles beside it, so that every block soon has close candidates.
    count = len(blocks)
    tiles = [(i, i + beside) for beside in range(count) for i in range(count - beside)]
    with full_float32(device):
        parallel_map(task, tiles, device)
    values = torch.cat([block.values for block in blocks])[:total]
    found = torch.cat([block.found for block in blocks])[:total]
    farthest = -2 * torch.cat([block.lowest for block in blocks])[:total]
    coincide = farthest <= 4 * images.tolerance
    return Neighbourhoods(
        _settle(images, values, found, k), farthest.masked_fill_(coincide, torch.inf)
    )


@dataclass(frozen=True, eq=False)
class _View:
    """One direction of a tile: its lines in segments.

    Attributes:
        segments: (lines, places, S); entry (p, s) of a line stands at p * S + s.
        highest: (lines, S), over places.
    """

    segments: Tensor
    highest: Tensor

    def above(self, bar: Tensor) -> Entries:
        """Line, position and value of the entries at or above their line's ``bar``, by line."""
        line, segment = (self.highest >= bar[:, None]).nonzero(as_tuple=True)
        values = self.segments[line, :, segment]
        hit, place = (values >= bar[line, None]).nonzero(as_tuple=True)
        position = place * self.highest.shape[1] + segment[hit]
        return line[hit], position, values[hit, place]


def _by_row(tile: Tensor) -> _View:
    segments = tile.view(len(tile), _SEGMENT, -1)
    return _View(segments, segments.amax(1))


def _by_column(tile: Tensor) -> _View:
    segments = tile.view(_SEGMENT, -1, tile.shape[1])
    return _View(segments.permute(2, 0, 1), segments.amax(0).T)  # amax is quick in this layout


@dataclass(eq=False)
class _Block:
    """Consecutive images and their best candidates so far, best first."""

    start: int
    values: Tensor
    found: Tensor
    lowest: Tensor
    lock: Lock

    @classmethod
    def empty(cls, side: int, kept: int, start: int, device: torch.device) -> _Block:
        values = torch.full((side, kept), -torch.inf, device=device)
        found = torch.full((side, kept), -1, dtype=torch.int64, device=device)
        return cls(start, values, found, values.new_full((side,), torch.inf), Lock())

    def meet(self, view: _View, start: int) -> None:
        """Take candidates from a tile whose positions count from image ``start``."""
        kept = self.values.shape[1]
        bar = self.values[:, -1]  # may be out of date, but never too high
        if start == self.start and view.highest.shape[1] >= kept:
            # The first tile: as many segments as candidates lie at or above this.
            bar = view.highest.topk(kept, dim=1).values[:, -1]
        line, position, value = view.above(bar.clamp(min=_LOWEST))
        if not len(line):
            return
        first = torch.searchsorted(line, torch.arange(len(bar), device=line.device))
        place = torch.arange(len(line), device=line.device) - first[line]
        wider = (0, int(place.max()) + 1)
        with self.lock:
            values, found = pad(self.values, wider, value=-torch.inf), pad(self.found, wider)
            values[line, kept + place], found[line, kept + place] = value, start + position
            self.values, order = values.topk(kept, dim=1)
            self.found = found.gather(1, order)

    def reach(self, lowest: Tensor) -> None:
        """Note the lowest value of each line; the last tile has fewer lines."""
        with self.lock:
            mine = self.lowest[: len(lowest)]
            torch.minimum(mine, lowest, out=mine)


def _settle(images: Images, values: Tensor, found: Tensor, k: int) -> NDArray[np.int64]:
    """(N, k) neighbours, out of (N, kept) candidates ``found`` with float32 ``values``, best first.

    Where rounding could have changed the order, candidates are scored again; where it could have
    hidden a neighbour, the whole set is searched.
    """
    slack = 2 * images.tolerance
    values = values.double()
    unsure = (-values.diff(dim=1)[:, :k] <= slack[:, None]).any(1)
    lost = values[:, k - 1] - values[:, -1] <= slack
    lost &= found.shape[1] < len(images)
    nearest = found[:, :k].cpu().numpy()
    rows = (unsure & ~lost).nonzero()[:, 0]
    nearest[rows.cpu().numpy()] = _rescored(images.space, rows, found[rows])[:, :k]
    if bool(lost.any()):
        rows = lost.nonzero()[:, 0]
        nearest[rows.cpu().numpy()] = _searched(images.space, rows.cpu().numpy(), k)
    return nearest


def _rescored(space: Space, rows: Tensor, found: Tensor) -> NDArray[np.int64]:
    """Candidates ``found`` (n, kept) of the images ``rows``, in order of their exact scores."""
    own = rows[:, None].expand_as(found)
    scores = space.exact_many(space.gallery, space.norms, own.flatten(), found.flatten())
    scores = scores.view(found.shape).masked_fill_(found == own, torch.inf)
    names = found.cpu().numpy()
    order = np.lexsort((names, -scores.cpu().numpy()), axis=1)
    return np.take_along_axis(names, order, axis=1)


def _searched(space: Space, rows: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """(n, k) neighbours of the images ``rows`` from an index over all of them."""
    embeddings = space.gallery.cpu().numpy()
    index = GalleryIndex(embeddings, metric=space.metric, device="cpu")
    _, names = index.search(embeddings[rows], k)
    own = rows[:, None]  # need not be there, where others have the same embedding
    others = np.argsort(names == own, axis=1, kind="stable")[:, : k - 1]
    return np.concatenate([own, np.take_along_axis(names, others, axis=1)], axis=1)
