"""Similarity of a query and a gallery image: exact for one pair, fast for a block.

A float32 matrix product is fast, but the last bits of its sums depend on block size, threads,
library and device. It decides only pairs that differ by more than its rounding error; the others
are scored by :meth:`Space.exact`. Counting (:mod:`.ranking.counting`) and search (:mod:`.index`)
share this definition, so they agree.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from reid_dhm.errors import InputError
from reid_dhm.retrieval.parallel import parallel_map
from reid_dhm.retrieval.protocol import METRICS

_PAIRS = 256  # rows converted to float64 at a time: two (256, 512) blocks fit in the cache
_TASK = 1024  # pairs or rows per task of a thread


@dataclass(frozen=True, eq=False)
class Space:
    """The metric space of one gallery; create it with :meth:`of`.

    Cosine similarity ranks as Euclidean distance between normalised rows does, so both metrics
    share the quick product. Rows enter it relative to ``centre`` and ``scale``: distances do not
    change, and the rounding error shrinks from the length of the vectors to their spread.

    Attributes:
        metric: ``cosine`` or ``euclidean``.
        gallery: (G, D) float32, as given.
        norms: (G,) float64 lengths of the gallery rows; ones for ``euclidean``.
        centre: (D,) float64, roughly the mean of the gallery.
        scale: a positive length by which rows are divided, so that float32 does not overflow.
    """

    metric: str
    gallery: Tensor
    norms: Tensor
    centre: Tensor
    scale: float

    @classmethod
    def of(cls, metric: str, gallery: Tensor) -> Space:
        """Prepare ``gallery`` (G, D) float32 on any device, without copying it.

        Raises:
            InputError: for an unknown metric, or a zero row under ``cosine`` (named by number).
        """
        if metric not in METRICS:
            raise InputError(f"metric is {metric!r}; choose one of {', '.join(METRICS)}")
        norms = _norms(metric, gallery, "gallery")
        parts = list(zip(gallery.split(_TASK), norms.split(_TASK), strict=True))
        sums = parallel_map(lambda part: _sum(*part), parts, gallery.device)
        centre = torch.stack(sums).sum(0) / len(gallery)
        if metric == "cosine":
            return cls(metric, gallery, norms, centre, 1.0)
        spread = max(float((rows - centre).abs().max()) for rows in gallery.split(_TASK))
        return cls(metric, gallery, norms, centre, spread or 1.0)

    def query_norms(self, queries: Tensor) -> Tensor:
        """(Q,) float64 lengths of ``queries`` (Q, D) float32, for :meth:`exact`.

        Raises:
            InputError: if a row is zero under ``cosine``.
        """
        return _norms(self.metric, queries, "query")

    def exact(self, queries: Tensor, norms: Tensor, query: Tensor, gallery: Tensor) -> Tensor:
        """Score of n pairs: cosine similarity, or minus the squared Euclidean distance.

        A score depends only on the two rows: products, differences and sums are elementwise
        float64 in a fixed order. The same two rows give the same bits at any position, with any
        block size, thread count or device, so equal rows tie exactly.

        Args:
            queries: (Q, D) float32.
            norms: (Q,) float64 from :meth:`query_norms`.
            query: (n,) int64 rows of ``queries``.
            gallery: (n,) int64 rows of the gallery.

        Returns:
            (n,) float64; higher is closer.
        """
        parts = zip(query.split(_PAIRS), gallery.split(_PAIRS), strict=True)
        scores = [self._exact(queries, norms, *part) for part in parts]
        return torch.cat([norms.new_empty(0), *scores])

    def exact_many(self, queries: Tensor, norms: Tensor, query: Tensor, gallery: Tensor) -> Tensor:
        """The same as :meth:`exact`, on all threads."""

        def task(pair: tuple[Tensor, Tensor]) -> Tensor:
            return self.exact(queries, norms, *pair)

        tasks = list(zip(query.split(_TASK), gallery.split(_TASK), strict=True))
        return torch.cat([norms.new_empty(0), *parallel_map(task, tasks, queries.device)])

    def _exact(self, queries: Tensor, norms: Tensor, query: Tensor, gallery: Tensor) -> Tensor:
        left = queries.index_select(0, query).double()
        right = self.gallery.index_select(0, gallery).double()
        if self.metric == "cosine":
            return _fold(left.mul_(right)) / (norms[query] * self.norms[gallery])
        return -_fold(left.sub_(right).square_())

    def coarse(self, rows: Tensor, norms: Tensor) -> Tensor:
        """(n, D) float64 rows relative to the centre, in units of ``scale``."""
        return normalised(rows, norms).sub_(self.centre).div_(self.scale)

    def level(self, query_square: Tensor, scores: Tensor) -> Tensor:
        """The value of q·g - |g|²/2 of coarse rows at which the exact score is ``scores``.

        Args:
            query_square: |q|² of the coarse query rows, float64, broadcast against ``scores``.
            scores: float64 from :meth:`exact`.
        """
        squared = 2 - 2 * scores if self.metric == "cosine" else -scores
        return (query_square - squared / self.scale**2) / 2

    def tolerance(self, query_square: Tensor, gallery_square: Tensor) -> Tensor:
        """How far a float32 q·g - |g|²/2 of coarse rows may lie from :meth:`level`.

        Rounding errors of a product of D terms grow as √D (Higham and Mary, 2019, "A New Approach
        to Probabilistic Rounding Error Analysis", theorem 3.1), see :func:`relative_rounding`; the
        other terms cover |g|²/2 in float32 and :meth:`level` itself, which is float64.

        Args:
            query_square: |q|² of the coarse query rows, float64.
            gallery_square: the largest |g|² among the coarse gallery rows compared.
        """
        unit = relative_rounding(self.gallery.shape[1])
        product = unit * query_square.sqrt() * gallery_square.sqrt() + 2.0**-22 * gallery_square
        return product + 2.0**-48 * (query_square + gallery_square + 4)


def normalised(rows: Tensor, norms: Tensor) -> Tensor:
    """(n, D) float64 rows over their norms: Euclidean distance ranks them as the metric does."""
    return rows.double() / norms[:, None]


def relative_rounding(dim: int) -> float:
    """Bound on the rounding error of a float32 product of two unit vectors of ``dim`` entries.

    Constant vectors, the worst case, came to √dim units of 2⁻²⁴ at most with MKL, vectors around
    their centre to a tenth of it.
    """
    return (2 * math.sqrt(dim) + 8) * 2.0**-24


def _norms(metric: str, rows: Tensor, name: str) -> Tensor:
    if metric != "cosine":
        return torch.ones(len(rows), dtype=torch.float64, device=rows.device)
    norms = torch.cat(parallel_map(_lengths, rows.split(_TASK), rows.device))
    if not bool(norms.all()):
        row = int((norms == 0).nonzero()[0])
        raise InputError(
            f"{name} embeddings row {row} is zero and has no direction: embed that image again, "
            "leave it out, or use the metric euclidean"
        )
    return norms


def _sum(rows: Tensor, norms: Tensor) -> Tensor:
    parts = zip(rows.split(_PAIRS), norms.split(_PAIRS), strict=True)
    return torch.stack([normalised(*part).sum(0) for part in parts]).sum(0)


def _lengths(rows: Tensor) -> Tensor:
    return torch.cat([_fold(block.double().square_()).sqrt() for block in rows.split(_PAIRS)])


def _fold(terms: Tensor) -> Tensor:
    """Sum (n, D) float64 over D in a fixed order, by folding the row in half; overwrites it."""
    width = terms.shape[1]
    while width > 1:
        half = (width + 1) // 2
        terms[:, : width - half] += terms[:, half:width]
        width = half
    return terms[:, 0].clone()
