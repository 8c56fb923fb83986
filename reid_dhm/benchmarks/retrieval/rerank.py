"""Time of re-ranking against torchreid and bare products, and of expansion against bare FAISS.

Ours is :func:`.rerank` and all of its rows, block by block, alternating with the bare products and
searches in one process. torchreid's is ``re_ranking`` of its PyPI package, in another process; the
time of its input distances is not counted. It squares them, so it receives Euclidean distances
between normalised rows, and both start from 2 - 2 cos.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reid_dhm.benchmarks.harness import in_fresh_process, peak, seconds, times
from reid_dhm.devices import parse_device
from reid_dhm.models.torchreid import torchreid_module
from reid_dhm.retrieval.embeddings import EmbeddingSet
from reid_dhm.retrieval.npz import read_evaluation_npz
from reid_dhm.retrieval.parallel import parallel_map
from reid_dhm.retrieval.protocol import PUBLISHED
from reid_dhm.retrieval.refinement.expansion import augment_gallery, expand_queries
from reid_dhm.retrieval.refinement.neighbours import TILE
from reid_dhm.retrieval.refinement.reranking import RerankedDistances, rerank

_ROWS = 512  # final distances computed at a time
_PRODUCT_ROWS = 2048
_NEIGHBOURS = 10
_SAME = 1e-5
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class RerankingFigures:
    """Seconds are wall-clock, the best of the rounds; peaks are bytes above the embeddings.

    Attributes:
        num_query, num_gallery, dim: size of the problem; k1 = 20, k2 = 6, λ = 0.3.
        threads: of PyTorch.
        ours: arrays in memory to the final distances of all queries.
        rows: the part of it after neighbours and memberships are known.
        ours_peak: of all of it.
        product: the bare float32 product X·Xᵀ of all images.
        half_product: its tiles on and above the diagonal, which suffice by symmetry, with our
            tile size and threads.
        search, expand: bare FAISS search of every query's neighbours, and query expansion by them.
        gallery_search, augment: the same for every gallery image, and database augmentation.
        torchreid: its ``re_ranking``.
        torchreid_peak: above its input distances.
        largest_difference: between the final distances of both. torchreid sorts float32: where two
            neighbours are equal to within that, its sets are not always the exact ones.
        distances_differ: final distances that differ by more than 1e-5.
        lists_differ: queries whose ten nearest images, or their order, differ. None, like the four
            above, if torchreid was not measured.
    """

    num_query: int
    num_gallery: int
    dim: int
    threads: int
    ours: float
    rows: float
    ours_peak: int
    product: float
    half_product: float
    search: float
    expand: float
    gallery_search: float
    augment: float
    torchreid: float | None = None
    torchreid_peak: int | None = None
    largest_difference: float | None = None
    distances_differ: int | None = None
    lists_differ: int | None = None

    @property
    def over_product(self) -> float:
        """Our seconds over those of the whole bare product."""
        return self.ours / self.product

    @property
    def over_half_product(self) -> float:
        """Our seconds over those of the half that symmetry leaves."""
        return self.ours / self.half_product

    @property
    def expand_over_search(self) -> float:
        """Query expansion over the bare search."""
        return self.expand / self.search

    @property
    def augment_over_search(self) -> float:
        """Database augmentation over the bare search."""
        return self.augment / self.gallery_search

    @property
    def times_faster(self) -> float | None:
        """How many times longer torchreid takes."""
        return times(self.torchreid, self.ours)


def compare_reranking(
    embeddings: Path, *, device: str = "auto", rounds: int = 3, with_torchreid: bool = True
) -> RerankingFigures:
    """Measure both on one file under cosine distance, each in a new process.

    Args:
        embeddings: what :func:`reid_dhm.retrieval.npz.read_evaluation_npz` reads.
        device: of ours and the bare products: ``auto``, ``cpu`` or ``cuda``.
        rounds: repetitions of everything but torchreid.
        with_torchreid: takes minutes, and about 25 bytes of memory per pair of images.

    Raises:
        InputError: if the file cannot be used, or the device does not exist.
    """
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = Path(folder) / "ours.npy", Path(folder) / "torchreid.npy"
        figures = in_fresh_process(_measure_ours, embeddings, device, rounds, ours)
        if with_torchreid:
            figures |= in_fresh_process(_measure_torchreid, embeddings, theirs)
            figures |= _differences(np.load(ours, "r"), np.load(theirs, "r"))
    return RerankingFigures(**figures)


def _measure_ours(path: Path, device: str, rounds: int, output: Path) -> dict[str, Any]:
    query, gallery, _ = read_evaluation_npz(path)
    both = np.concatenate([query.embeddings, gallery.embeddings])
    images = torch.from_numpy(both).to(parse_device(device))
    units = {name: _units(side) for name, side in (("query", query), ("gallery", gallery))}
    side = _Ours(query, gallery, device)
    stages: dict[str, Callable[[], object]] = {
        "product": lambda: _product(images),
        "half_product": lambda: _half_product(images),
        "ours": side.rerank,
        "search": lambda: _search(units["query"], units["gallery"], _NEIGHBOURS, device),
        "expand": lambda: expand_queries(query, gallery, k=_NEIGHBOURS, device=device),
        # An image is among its own neighbours.
        "gallery_search": lambda: _search(
            units["gallery"], units["gallery"], _NEIGHBOURS + 1, device
        ),
        "augment": lambda: augment_gallery(gallery, k=_NEIGHBOURS, device=device),
    }
    _half_product(images[: 2 * TILE["cpu"]])  # warm up
    taken: dict[str, list[float]] = {name: [] for name in stages}
    peaks = []
    for _ in range(rounds):
        for name, work in stages.items():
            with peak() as above:
                taken[name].append(seconds(work))
            if name == "ours":
                peaks.append(above())
    np.save(output, side.reranked.rows(0, len(query)))
    return {
        "num_query": len(query),
        "num_gallery": len(gallery),
        "dim": query.dim,
        "threads": torch.get_num_threads(),
        "rows": min(side.rows),
        "ours_peak": max(peaks),
        **{name: min(values) for name, values in taken.items()},
    }


class _Ours:
    """Re-ranking and its last result."""

    reranked: RerankedDistances

    def __init__(self, query: EmbeddingSet, gallery: EmbeddingSet, device: str) -> None:
        self.arrays = query.embeddings, gallery.embeddings
        self.device = device
        self.rows: list[float] = []

    def rerank(self) -> None:
        self.reranked = rerank(*self.arrays, device=self.device)
        self.rows.append(seconds(self._all_rows))

    def _all_rows(self) -> None:
        total, _ = self.reranked.shape
        for start in range(0, total, _ROWS):
            self.reranked.rows(start, min(start + _ROWS, total))


def _product(images: Tensor) -> None:
    for rows in images.split(_PRODUCT_ROWS):
        torch.mm(rows, images.T)


def _half_product(images: Tensor) -> None:
    blocks = images.split(TILE[images.device.type])
    tiles = [(left, right) for i, left in enumerate(blocks) for right in blocks[i:]]

    def task(tile: tuple[Tensor, Tensor]) -> None:
        torch.mm(tile[0], tile[1].T)

    parallel_map(task, tiles, images.device)


def _search(query: NDArray[np.float32], gallery: NDArray[np.float32], k: int, device: str) -> None:
    """FAISS alone: index and search, the queries divided among threads."""
    index: Any = faiss.IndexFlatIP(gallery.shape[1])
    if device != "cpu" and faiss.get_num_gpus():
        index = faiss.index_cpu_to_all_gpus(index)
        index.add(gallery)
        index.search(query, k)
    else:
        index.add(gallery)
        shares = np.array_split(query, torch.get_num_threads())
        parallel_map(lambda share: index.search(share, k), shares, _CPU)


def _units(embeddings: EmbeddingSet) -> NDArray[np.float32]:
    rows = embeddings.embeddings
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _measure_torchreid(path: Path, output: Path) -> dict[str, Any]:
    query, gallery, _ = read_evaluation_npz(path)
    re_ranking = torchreid_module("utils.rerank").re_ranking
    parts = [
        _distances(left, right)
        for left, right in ((query, gallery), (query, query), (gallery, gallery))
    ]
    final = []

    def work() -> None:
        how = PUBLISHED
        final.append(re_ranking(*parts, k1=how.k1, k2=how.k2, lambda_value=how.weight))

    with peak() as above:
        taken = seconds(work)
    np.save(output, final[0])
    return {"torchreid": taken, "torchreid_peak": above()}


def _distances(left: EmbeddingSet, right: EmbeddingSet) -> NDArray[np.float32]:
    """Euclidean distances of normalised rows, from float64 products."""
    rows = [torch.from_numpy(side.embeddings).double() for side in (left, right)]
    units = [side / side.norm(dim=1, keepdim=True) for side in rows]
    blocks = [
        torch.mm(block, units[1].T).mul_(-2).add_(2).clamp_(min=0).sqrt_().float()
        for block in units[0].split(_PRODUCT_ROWS)
    ]
    return torch.cat(blocks).numpy()


def _differences(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> dict[str, Any]:
    largest, beyond, lists_differ = 0.0, 0, 0
    for start in range(0, len(ours), _ROWS):
        pair = ours[start : start + _ROWS], theirs[start : start + _ROWS]
        between = np.abs(pair[0] - pair[1])
        largest = max(largest, float(between.max()))
        beyond += int(np.count_nonzero(between > _SAME))
        lists = [np.argsort(side, axis=1, kind="stable")[:, :10] for side in pair]
        lists_differ += int(np.count_nonzero((lists[0] != lists[1]).any(axis=1)))
    return {
        "largest_difference": largest,
        "distances_differ": beyond,
        "lists_differ": lists_differ,
    }
