"""Nearest gallery images by FAISS, on all GPUs if there are any, else on the CPU.

Where FAISS is not installed, an exhaustive search on the CPU gives the same answers. Callers filter
by identity, camera or time.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reid_dhm.devices import full_float32
from reid_dhm.errors import InputError
from reid_dhm.retrieval.distances import Space, normalised, relative_rounding
from reid_dhm.retrieval.parallel import parallel_map

faiss: Any = import_module("faiss") if find_spec("faiss") else None
"""FAISS, or ``None`` where it is not installed: a bare training machine needs none."""

_ROWS = 2048  # gallery rows multiplied at a time by the exhaustive search
_ADDED = 2**15  # gallery rows added to FAISS at a time
_TASK = 1024  # rows converted per task of a thread
_QUERIES = 4096  # queries searched at a time; with fewer FAISS reads the gallery more often
_SLACK = 16  # candidates beyond those asked for, so that rounding rarely decides at the end
_GPU_MAX_K = 2048  # FAISS's own limit
_SWEEP = 2**24  # scores held at a time by the exhaustive search


class GalleryIndex:
    """Nearest-neighbour search in a gallery.

    FAISS proposes candidates from float32 sums; :meth:`Space.exact` scores them again, and equal
    ones are ordered by gallery row. The result is exact: if rounding could have hidden a
    neighbour of a query, that query is compared with the whole gallery.

    Attributes:
        metric: ``cosine`` or ``euclidean``.
        name: the FAISS index used, such as ``IndexFlat (inner product)``, or ``exhaustive search``.
        device: ``cpu``, ``cuda``, or ``cuda x N`` for N GPUs.
    """

    def __init__(
        self,
        gallery: NDArray[np.float32],
        *,
        metric: str = "cosine",
        device: str = "auto",
    ) -> None:
        """Index ``gallery``, (G, D) float32; it is referenced, not copied.

        Args:
            device: ``auto`` (all GPUs that FAISS sees, else the CPU) or ``cpu``.

        Raises:
            InputError: an unknown metric, or a zero gallery row under ``cosine``.
        """
        self.metric = metric
        self.space = Space.of(metric, torch.from_numpy(gallery))
        self.index: Any = None
        self.name, self.device = "exhaustive search", "cpu"
        if faiss is not None:
            self._build(gallery, metric, device)

    def _build(self, gallery: NDArray[np.float32], metric: str, device: str) -> None:
        flat = faiss.IndexFlat(gallery.shape[1], _faiss_metric(metric))
        gpus = 0 if device == "cpu" else faiss.get_num_gpus()
        self.index = faiss.index_cpu_to_all_gpus(flat, ngpu=gpus) if gpus else flat
        for start in range(0, len(gallery), _ADDED):
            rows = slice(start, start + _ADDED)
            self.index.add(self._rows(self.space.gallery[rows], self.space.norms[rows]))
        product = "inner product" if metric == "cosine" else "L2"
        self.name = f"{type(self.index).__name__} ({product})"
        self.device = "cpu" if not gpus else "cuda" if gpus == 1 else f"cuda x {gpus}"

    def __len__(self) -> int:
        return len(self.space.gallery)

    def search(
        self, queries: NDArray[np.float32], k: int
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """The k closest gallery images of each query, best first, equal ones in gallery order.

        Args:
            queries: (Q, D) float32.
            k: how many, 1 or more.

        Returns:
            scores: (Q, k) float64, the cosine similarity or minus the Euclidean distance: higher
                is closer. -inf beyond the size of the gallery.
            indices: (Q, k) int64 gallery rows, -1 beyond the size of the gallery.

        Raises:
            InputError: if k is below 1, D differs from the gallery's, or a query is zero under
                ``cosine``.
        """
        if k < 1:
            raise InputError(f"k is {k}: give 1 or more")
        if queries.shape[1] != self.space.gallery.shape[1]:
            raise InputError(
                f"queries have {queries.shape[1]} dimensions and the gallery "
                f"{self.space.gallery.shape[1]}: embed both with the same model"
            )
        scores = np.full((len(queries), k), -np.inf)
        indices = np.full((len(queries), k), -1, dtype=np.int64)
        kept = min(k, len(self))
        for start in range(0, len(queries), _QUERIES):
            rows = slice(start, start + _QUERIES)
            scores[rows, :kept], indices[rows, :kept] = self._search(queries[rows], kept)
        if self.metric == "euclidean":
            scores = -np.sqrt(-scores)
        return scores, indices

    def _search(
        self, queries: NDArray[np.float32], k: int
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """(B, k) exact scores (minus the *squared* distance) and indices, k at most G."""
        rows = torch.from_numpy(queries)
        norms = self.space.query_norms(rows)
        if self.index is None:
            return self._sweep(rows, norms, k)
        wanted = min(k + _SLACK, len(self))
        if self.device != "cpu":
            wanted = min(wanted, _GPU_MAX_K)
        proposed, candidates = self._propose(self._rows(rows, norms), wanted)
        query = torch.arange(len(rows)).repeat_interleave(wanted)
        exact = self.space.exact_many(rows, norms, query, torch.from_numpy(candidates.ravel()))
        scores = exact.numpy().reshape(candidates.shape)
        last = self._score(proposed)[:, -1]
        error = np.abs(self._score(proposed) - scores)
        scores, candidates = _best(scores, candidates, k)
        if wanted < len(self):
            # No image left out by FAISS scores above `last` by more than its rounding error.
            margin = np.maximum(self._margin(rows, norms), 2 * error.max())
            unsure = np.flatnonzero((wanted < k) | (scores[:, -1] <= last + margin))
            if len(unsure):
                swept = self._sweep(rows[unsure], norms[unsure], k)
                lacking = ((0, 0), (0, k - len(scores[0])))
                scores, candidates = np.pad(scores, lacking), np.pad(candidates, lacking)
                scores[unsure], candidates[unsure] = swept
        return scores, candidates

    def _propose(
        self, rows: NDArray[np.float32], k: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """FAISS's candidates; on the CPU all threads search, as FAISS's BLAS may use only one."""
        if self.device != "cpu":
            return self.index.search(rows, k)
        shares = np.array_split(rows, min(torch.get_num_threads(), len(rows)))
        found = parallel_map(lambda part: self.index.search(part, k), shares, torch.device("cpu"))
        return np.concatenate([d for d, _ in found]), np.concatenate([i for _, i in found])

    def _sweep(
        self, queries: Tensor, norms: Tensor, k: int
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Exhaustive search: exact (B, k) scores and indices from the whole gallery."""
        parts = []
        height = max(1, _SWEEP // len(self))
        for rows, lengths in zip(queries.split(height), norms.split(height), strict=True):
            coarse, largest = self._products(rows, lengths)
            square = self.space.coarse(rows, lengths).square().sum(1)
            slack = 2 * self.space.tolerance(square, largest)
            lowest = coarse.topk(k, dim=1).values[:, -1].double() - slack
            query, gallery = (coarse >= lowest[:, None].float()).nonzero(as_tuple=True)
            exact = self.space.exact_many(rows, lengths, query, gallery).numpy()
            order = np.lexsort((gallery.numpy(), -exact, query.numpy()))
            starts = np.searchsorted(query.numpy(), np.arange(len(rows)))
            chosen = order[starts[:, None] + np.arange(k)]
            parts.append((exact[chosen], gallery.numpy()[chosen]))
        return np.concatenate([s for s, _ in parts]), np.concatenate([g for _, g in parts])

    def _products(self, queries: Tensor, norms: Tensor) -> tuple[Tensor, Tensor]:
        """(B, G) float32 q·g - |g|²/2 of the coarse rows, and the largest |g|²."""
        coarse = self.space.coarse(queries, norms).float()
        products = torch.empty(len(queries), len(self))
        largest = norms.new_zeros(())
        with full_float32(torch.device("cpu")):
            for start in range(0, len(self), _ROWS):
                part = slice(start, start + _ROWS)
                rows = self.space.coarse(self.space.gallery[part], self.space.norms[part])
                square = rows.square().sum(1)
                largest = torch.maximum(largest, square.max())
                products[:, part] = coarse @ rows.float().T - (square / 2).float()
        return products, largest

    def _rows(self, rows: Tensor, norms: Tensor) -> NDArray[np.float32]:
        """The rows given to FAISS: unit rows for inner products, centred rows for L2."""
        convert = normalised if self.metric == "cosine" else self.space.coarse
        parts = zip(rows.split(_TASK), norms.split(_TASK), strict=True)
        units = parallel_map(lambda part: convert(*part).float(), parts, torch.device("cpu"))
        return torch.cat(units).numpy()

    def _score(self, proposed: NDArray[np.float32]) -> NDArray[np.float64]:
        """FAISS's inner products or squared distances as scores of :meth:`Space.exact`."""
        factor = 1.0 if self.metric == "cosine" else -(self.space.scale**2)
        return factor * proposed.astype(np.float64)

    def _margin(self, queries: Tensor, norms: Tensor) -> NDArray[np.float64]:
        """(B,) how far FAISS's float32 score may lie from the exact one."""
        unit = relative_rounding(queries.shape[1])
        if self.metric == "cosine":
            return np.full(len(queries), unit)
        reach = self.space.coarse(queries, norms).square().sum(1).sqrt() + self._radius()
        return (unit * (reach * self.space.scale) ** 2).numpy()

    def _radius(self) -> float:
        """An upper bound of |g| among the coarse gallery rows: no entry exceeds 1."""
        return float(self.space.gallery.shape[1]) ** 0.5


def _best(
    scores: NDArray[np.float64], indices: NDArray[np.int64], k: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The k best of each row, by score, equal ones by index."""
    order = np.lexsort((indices, -scores), axis=1)[:, :k]
    return np.take_along_axis(scores, order, axis=1), np.take_along_axis(indices, order, axis=1)


def _faiss_metric(metric: str) -> int:
    return faiss.METRIC_INNER_PRODUCT if metric == "cosine" else faiss.METRIC_L2
