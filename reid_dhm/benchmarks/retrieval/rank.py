"""Time of CMC, mAP and mINP against torchreid and against the matrix product that both need.

Ours is the ``rank`` seconds of :func:`.rank_gallery` (arrays in memory to figures), alternating
with the bare product in one process. torchreid's is ``compute_distance_matrix`` and
``evaluate_rank`` of its PyPI package, in another process on the same embeddings.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from reid_dhm.benchmarks.harness import in_fresh_process, peak, seconds, synthetic_sets, times
from reid_dhm.devices import parse_device
from reid_dhm.models.torchreid import torchreid_module
from reid_dhm.retrieval.npz import read_evaluation_npz
from reid_dhm.retrieval.ranking.whole_gallery import rank_gallery

_PRODUCT_ROWS = 2**14  # gallery rows of the bare product at a time, so that it fits any gallery


@dataclass(frozen=True)
class RankingFigures:
    """Seconds are wall-clock, the best of the rounds; peaks are bytes above the embeddings.

    Attributes:
        num_query, num_gallery, dim: size of the problem.
        threads: of PyTorch.
        ours: arrays in memory to CMC, AP and mINP, the matrix product included.
        product: the bare float32 matrix product.
        search: FAISS index and ranked lists.
        ours_peak: of the whole evaluation, index and lists included.
        mean_ap: shows that both compute the same.
        torchreid, torchreid_distances: its whole evaluation, and its distance matrix alone; None,
            like the two below, if torchreid was not measured.
        torchreid_peak, torchreid_mean_ap: as for ours.
    """

    num_query: int
    num_gallery: int
    dim: int
    threads: int
    ours: float
    product: float
    search: float
    ours_peak: int
    mean_ap: float
    torchreid: float | None = None
    torchreid_distances: float | None = None
    torchreid_peak: int | None = None
    torchreid_mean_ap: float | None = None

    @property
    def ranking(self) -> float:
        """Our seconds minus those of the bare product."""
        return self.ours - self.product

    @property
    def over_product(self) -> float:
        """Our seconds over those of the bare product."""
        return self.ours / self.product

    @property
    def times_faster(self) -> float | None:
        """How many times longer torchreid takes."""
        return times(self.torchreid, self.ours)


def compare_ranking(
    embeddings: Path, *, device: str = "auto", rounds: int = 3, with_torchreid: bool = True
) -> RankingFigures:
    """Measure both on one file under cosine distance, each in a new process.

    Args:
        embeddings: what :func:`reid_dhm.retrieval.npz.read_evaluation_npz` reads.
        device: of ours and the bare product: ``auto``, ``cpu`` or ``cuda``.
        rounds: repetitions of ours and of the product.
        with_torchreid: False if its (Q, G) matrix does not fit in memory.

    Raises:
        InputError: if the file cannot be used, or the device does not exist.
    """
    figures = in_fresh_process(_measure_ours, embeddings, device, rounds)
    if with_torchreid:
        figures |= in_fresh_process(_measure_torchreid, embeddings)
    return RankingFigures(**figures)


def _measure_ours(path: Path, device: str, rounds: int) -> dict[str, Any]:
    query, gallery, _ = read_evaluation_npz(path)
    where = parse_device(device)
    left = torch.from_numpy(query.embeddings).to(where)
    right = torch.from_numpy(gallery.embeddings).to(where)
    rank_gallery(*synthetic_sets(64, 2000, query.dim), device=device)  # warm up
    _product(left, right[:2000])

    ours, product, search, peaks = [], [], [], []
    for _ in range(rounds):
        product.append(seconds(lambda: _product(left, right)))
        with peak() as above:
            result = rank_gallery(query, gallery, device=device)
        peaks.append(above())
        ours.append(result.seconds["rank"])
        search.append(result.seconds["search"])
    return {
        "num_query": len(query),
        "num_gallery": len(gallery),
        "dim": query.dim,
        "threads": torch.get_num_threads(),
        "ours": min(ours),
        "product": min(product),
        "search": min(search),
        "ours_peak": max(peaks),
        "mean_ap": result.mAP,
    }


def _measure_torchreid(path: Path) -> dict[str, Any]:
    query, gallery, _ = read_evaluation_npz(path)
    metrics = torchreid_module("metrics")
    left, right = torch.from_numpy(query.embeddings), torch.from_numpy(gallery.embeddings)
    found = {}

    def measure() -> None:
        found["matrix"] = metrics.compute_distance_matrix(left, right, "cosine").numpy()

    def rank() -> None:
        ids = query.pids, gallery.pids, query.camids, gallery.camids
        _, found["mAP"] = metrics.evaluate_rank(found["matrix"], *ids)

    with peak() as above:
        distances = seconds(measure)
        ranking = seconds(rank)
    return {
        "torchreid": distances + ranking,
        "torchreid_distances": distances,
        "torchreid_peak": above(),
        "torchreid_mean_ap": float(found["mAP"]),
    }


def _product(left: torch.Tensor, right: torch.Tensor) -> None:
    for rows in right.split(_PRODUCT_ROWS):
        torch.mm(left, rows.T)
