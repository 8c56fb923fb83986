"""k-reciprocal re-ranking (Zhong et al., CVPR 2017), blocked and sparse.

Neighbours come from :mod:`.neighbours`. Memberships are sparse, about a hundred non-zeros per
image, so memory is far below query × gallery unless that many rows are requested at once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csc_array, csr_array
from torch import Tensor

from reid_dhm.devices import full_float32, parse_device
from reid_dhm.errors import InputError
from reid_dhm.retrieval.parallel import parallel_map
from reid_dhm.retrieval.protocol import PUBLISHED, Reranking
from reid_dhm.retrieval.refinement.neighbours import Images, Neighbourhoods, neighbourhoods

_ROWS = {"cpu": 128, "cuda": 1024}  # queries per task of a thread, or of the GPU


def rerank(
    query: NDArray[np.float32],
    gallery: NDArray[np.float32],
    *,
    metric: str = "cosine",
    settings: Reranking = PUBLISHED,
    device: str = "auto",
) -> RerankedDistances:
    """Re-rank by the overlap of the k-reciprocal neighbours of query and gallery image.

    The original distance is the squared Euclidean one (2 - 2 cos of normalised rows under
    ``cosine``), divided by the farthest distance from the same image. Neighbours are taken from
    query and gallery together, the image itself first, equal ones in that order.

    Args:
        query: (Q, D) float32.
        gallery: (G, D) float32.
        metric: ``cosine`` or ``euclidean`` (embeddings as they are).
        settings: a k above Q + G means all images.
        device: of the matrix products: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``; sparse
            operations run on the CPU.

    Raises:
        InputError: arrays of different shapes, a row that is not finite or is zero under
            ``cosine`` (its number is named), or an unknown metric or device.
    """
    _check(query, gallery, metric)
    both = torch.from_numpy(np.concatenate([query, gallery])).to(parse_device(device))
    images = Images.of(metric, both)
    total = len(images)  # half of k1 is used too: twice the images means all of them
    settings = replace(settings, k1=min(settings.k1, 2 * total), k2=min(settings.k2, total))
    found = neighbourhoods(images, max(settings.k1 + 1, settings.k2))
    memberships = _memberships(images, found, settings)
    return RerankedDistances(
        shape=(len(query), len(gallery)),
        images=images,
        farthest=found.farthest,
        query=memberships[: len(query)],
        gallery=memberships[len(query) :].tocsc(),
        weight=settings.weight,
    )


@dataclass(frozen=True, eq=False)
class RerankedDistances:
    """Final distances of every query to every gallery image, computed on request.

    Attributes:
        shape: (Q, G).
        images: query and gallery together.
        farthest: (Q + G,) float32, the largest squared distance from each image.
        query: (Q, Q + G) membership of each query; a row sums to 1.
        gallery: (G, Q + G) membership of each gallery image.
        weight: λ.
    """

    shape: tuple[int, int]
    images: Images
    farthest: Tensor
    query: csr_array
    gallery: csc_array
    weight: float

    def rows(self, start: int, stop: int) -> NDArray[np.float32]:
        """(stop - start, G) float32 distances of queries ``start`` to ``stop``; lower is closer.

        Raises:
            IndexError: for rows outside 0 … Q.
        """
        if not 0 <= start <= stop <= self.shape[0]:
            raise IndexError(f"rows {start} to {stop} of {self.shape[0]}")
        device = self.images.rows.device
        distances = torch.empty(stop - start, self.shape[1])

        def task(first: int) -> None:
            last = min(first + height, stop)
            out = distances[first - start : last - start]
            torch.add(self._original(first, last), self._jaccard(first, last), out=out)
            out.clamp_(min=0)  # rounding leaves equal images slightly off 0

        height = _ROWS[device.type]
        with full_float32(device):
            parallel_map(task, range(start, stop, height), device)
        return distances.numpy()

    def _original(self, start: int, stop: int) -> Tensor:
        """λ times the original distance."""
        num_query = self.shape[0]
        rows, half = self.images.rows, self.images.half
        values = torch.mm(rows[start:stop], rows[num_query:].T)
        values.sub_(half[num_query:]).sub_(half[start:stop, None])
        return values.mul_(-2 * self.weight / self.farthest[start:stop, None]).cpu()

    def _jaccard(self, start: int, stop: int) -> Tensor:
        """1 - λ times the Jaccard distance: memberships sum to 1, so it is 1 - m / (2 - m)."""
        common = _common(self.query[start:stop], self.gallery)
        return common.div_(2 - common).neg_().add_(1).mul_(1 - self.weight)


def _check(query: NDArray[np.float32], gallery: NDArray[np.float32], metric: str) -> None:
    for side, rows in (("query", query), ("gallery", gallery)):
        if rows.ndim != 2 or 0 in rows.shape or rows.dtype != np.float32:
            raise InputError(
                f"{side} embeddings are of shape {rows.shape} and type {rows.dtype}: re-ranking "
                "needs (N, D) float32 with N and D above 0"
            )
        bad = ~np.isfinite(rows).all(axis=1)
        if bad.any():
            raise InputError(
                f"{side} embeddings row {np.argmax(bad)} holds a value that is not finite: embed "
                "that image again or leave it out"
            )
        if metric == "cosine" and not rows.any(axis=1).all():
            raise InputError(
                f"{side} embeddings row {np.argmin(rows.any(axis=1))} is zero and has no "
                "direction: embed that image again, leave it out, or use the metric euclidean"
            )
    if query.shape[1] != gallery.shape[1]:
        raise InputError(
            f"query embeddings have {query.shape[1]} dimensions and gallery embeddings "
            f"{gallery.shape[1]}: make both with the same model"
        )


def _memberships(images: Images, found: Neighbourhoods, settings: Reranking) -> csr_array:
    """(N, N) float32: how strongly each image (row) belongs to others, summing to 1 a row."""
    nearest = found.nearest
    reciprocal = _reciprocal(nearest[:, : settings.k1 + 1])
    # Python and NumPy both round a half to the even neighbour, as the published code does.
    inner = _reciprocal(nearest[:, : round(settings.k1 / 2) + 1])
    sizes = inner.sum(axis=1)
    # A neighbour adds its inner set if more than two thirds of it lie in the reciprocal set.
    adds = (reciprocal @ inner).multiply(reciprocal).tocsr()
    adds.data = (3 * adds.data > 2 * sizes[adds.indices]).astype(np.float32)
    adds.eliminate_zeros()
    members = (reciprocal + adds @ inner).tocsr()

    of, member = (torch.from_numpy(ids).to(images.rows.device) for ids in members.nonzero())
    distances = images.squared_distances(of, member) / found.farthest[of]
    members.data = torch.exp(-distances).cpu().numpy()
    members.data /= np.repeat(members.sum(axis=1), np.diff(members.indptr))
    neighbours = _relation(nearest[:, : settings.k2])
    neighbours.data /= min(settings.k2, len(images))
    return neighbours @ members


def _relation(lists: NDArray[np.int64]) -> csr_array:
    """(N, N) float32, 1 from each row to the k of its list (N, k)."""
    count, k = lists.shape
    ones = np.ones(count * k, dtype=np.float32)
    return csr_array((ones, lists.ravel(), np.arange(count + 1) * k), shape=(count, count))


def _reciprocal(lists: NDArray[np.int64]) -> csr_array:
    """(N, N) float32, 1 between images that are in each other's lists."""
    relation = _relation(lists)
    return relation.multiply(relation.T).tocsr()


def _common(left: csr_array, right: csc_array) -> Tensor:
    """(B, G) float32: sum over columns of the minimum of each row of ``left`` and of ``right``.

    Only columns in which both rows are non-zero count, so each entry of ``left`` is paired with
    the entries of ``right`` in its column.
    """
    count_left, count_right = left.shape[0], right.shape[0]
    start, stop = (torch.from_numpy(right.indptr[left.indices + end]).long() for end in (0, 1))
    number = stop - start
    meeting = torch.repeat_interleave(number)  # the entry of `left` that meets
    skipped = start - (number.cumsum(0) - number)
    entry = torch.arange(len(meeting)).add_(skipped[meeting])  # the entry of `right` met
    least = torch.minimum(torch.from_numpy(right.data)[entry], torch.from_numpy(left.data)[meeting])
    row = torch.repeat_interleave(torch.from_numpy(np.diff(left.indptr)))
    place = row[meeting].mul_(count_right).add_(torch.from_numpy(right.indices)[entry])
    common = torch.zeros(count_left * count_right).scatter_add_(0, place, least)
    return common.view(count_left, count_right)
