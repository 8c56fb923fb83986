"""CMC, mAP and mINP beside torchreid's, and beside the bare matrix product that neither can avoid.

Run ``python -m reid_dhm.benchmarks.rank --help``. Every side runs in a process of its own on the
same made-up embeddings; ours shares its process with the bare product, and they take turns. Ours is
:func:`reid_dhm.retrieval.evaluate` (its ``rank`` seconds: arrays in memory to figures); torchreid's
is ``compute_distance_matrix`` and ``evaluate_rank`` as its PyPI package ships them.
"""

from __future__ import annotations

import importlib
import multiprocessing
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import numpy as np
import psutil
import torch
import typer

from reid_dhm.retrieval import EmbeddingSet, evaluate, read_evaluation_npz, write_evaluation_npz

_PRODUCT_ROWS = 2**14  # gallery rows of the bare product at a time, so that it fits any gallery
_PEOPLE = 750
_NOISE = 2.0  # around a person's own direction; makes neither a perfect nor a hopeless ranking


@dataclass(frozen=True)
class RankingFigures:
    """Seconds are wall-clock, the best of the rounds; peaks are bytes above the embeddings.

    Attributes:
        ours: arrays in memory to CMC, AP and mINP, the matrix product included.
        product: the bare float32 matrix product.
        search: making the FAISS index and the lists.
        ours_peak: of the whole evaluation, index and lists included.
        mean_ap: so that both sides can be seen to agree.
        torchreid, torchreid_peak, torchreid_mean_ap: None where the peer was left out.
    """

    ours: float
    product: float
    search: float
    ours_peak: int
    mean_ap: float
    torchreid: float | None = None
    torchreid_peak: int | None = None
    torchreid_mean_ap: float | None = None

    @property
    def over_product(self) -> float:
        """Our seconds over those of the bare product."""
        return self.ours / self.product

    @property
    def times_faster(self) -> float | None:
        """How many times longer torchreid takes."""
        return None if self.torchreid is None else self.torchreid / self.ours


def compare_ranking(
    query: EmbeddingSet,
    gallery: EmbeddingSet,
    *,
    device: str = "auto",
    rounds: int = 3,
    with_torchreid: bool = True,
) -> RankingFigures:
    """Measure both sides on the same sets, cosine distance, each in a fresh process.

    Args:
        device: of our side and the bare product: ``auto``, ``cpu`` or ``cuda``.
        rounds: turns of ours and of the product.
        with_torchreid: False where its (Q, G) matrix would not fit.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "embeddings.npz"
        write_evaluation_npz(path, query, gallery)
        figures = _in_a_process(_measure_ours, path, device, rounds)
        if with_torchreid:
            figures |= _in_a_process(_measure_torchreid, path)
    return RankingFigures(**figures)


def made_up_sets(
    num_query: int, num_gallery: int, dim: int, seed: int = 0
) -> tuple[EmbeddingSet, EmbeddingSet]:
    """People of Market-1501's number on six cameras; of the gallery beyond 13,115, distractors."""
    rng = np.random.default_rng(seed)
    directions = rng.standard_normal((_PEOPLE + 1, dim), dtype=np.float32)

    def some(pids: np.ndarray) -> EmbeddingSet:
        embeddings = rng.standard_normal((len(pids), dim), dtype=np.float32)
        embeddings *= np.float32(_NOISE)
        embeddings += directions[pids]
        return EmbeddingSet(embeddings, pids, rng.integers(1, 7, len(pids)))

    labelled = rng.integers(1, _PEOPLE + 1, min(num_gallery, 13_115))
    distractors = np.zeros(num_gallery - len(labelled), dtype=np.int64)
    gallery_pids = rng.permutation(np.concatenate([labelled, distractors]))
    return some(rng.integers(1, _PEOPLE + 1, num_query)), some(gallery_pids)


def _measure_ours(path: Path, device: str, rounds: int) -> dict[str, Any]:
    query, gallery, _ = read_evaluation_npz(path)
    where = "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
    left = torch.from_numpy(query.embeddings).to(where)
    right = torch.from_numpy(gallery.embeddings).to(where)
    warm_up = gallery.select(np.arange(min(len(gallery), 2000)))
    evaluate(query, warm_up, device=device)
    _product(left, right[:2000])

    ours, product, search, peaks = [], [], [], []
    for _ in range(rounds):
        start = time.perf_counter()
        _product(left, right)
        product.append(time.perf_counter() - start)
        with _peak() as peak:
            result = evaluate(query, gallery, device=device)
        peaks.append(peak())
        ours.append(result.seconds["rank"])
        search.append(result.seconds["search"])
    return {
        "ours": min(ours),
        "product": min(product),
        "search": min(search),
        "ours_peak": max(peaks),
        "mean_ap": result.mAP,
    }


def _measure_torchreid(path: Path) -> dict[str, Any]:
    query, gallery, _ = read_evaluation_npz(path)
    metrics = _torchreid_metrics()
    left, right = torch.from_numpy(query.embeddings), torch.from_numpy(gallery.embeddings)
    start = time.perf_counter()
    with _peak() as peak:
        distances = metrics.compute_distance_matrix(left, right, "cosine").numpy()
        _, mean_ap = metrics.evaluate_rank(
            distances, query.pids, gallery.pids, query.camids, gallery.camids
        )
    return {
        "torchreid": time.perf_counter() - start,
        "torchreid_peak": peak(),
        "torchreid_mean_ap": float(mean_ap),
    }


def _product(left: torch.Tensor, right: torch.Tensor) -> None:
    for rows in right.split(_PRODUCT_ROWS):
        torch.mm(left, rows.T)
    if left.is_cuda:
        torch.cuda.synchronize()


@contextmanager
def _peak() -> Iterator[Callable[[], int]]:
    """Watch this process; call what is yielded for the bytes it took above those at the start."""
    process = psutil.Process()
    before = highest = process.memory_info().rss
    done = threading.Event()

    def watch() -> None:
        nonlocal highest
        while not done.wait(0.005):
            highest = max(highest, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield lambda: highest - before
    finally:
        done.set()
        watcher.join()


def _in_a_process(measure: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as pool:
        return pool.submit(measure, *arguments).result()


def _torchreid_metrics() -> ModuleType:
    """The metrics package of torchreid, as the PyPI release or upstream names it."""
    try:
        return importlib.import_module("torchreid.reid.metrics")
    except ModuleNotFoundError:
        return importlib.import_module("torchreid.metrics")


def main(
    num_query: Annotated[int, typer.Option("--queries")] = 3368,
    num_gallery: Annotated[int, typer.Option("--gallery")] = 15913,
    dim: int = 512,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    rounds: int = 3,
    torchreid: Annotated[bool, typer.Option(help="measure the peer too")] = True,
) -> None:
    """Print our seconds, the peer's, the bare product's, the ratios and the peaks."""
    query, gallery = made_up_sets(num_query, num_gallery, dim)
    figures = compare_ranking(
        query, gallery, device=device, rounds=rounds, with_torchreid=torchreid
    )
    print(f"{num_query} x {num_gallery} x {dim}, {torch.get_num_threads()} threads")
    print(f"product    {figures.product:8.2f} s")
    print(
        f"ours       {figures.ours:8.2f} s, {figures.over_product:.2f} x the product, "
        f"mAP {figures.mean_ap:.6f}; lists {figures.search:.2f} s; "
        f"peak {figures.ours_peak / 2**20:.0f} MiB"
    )
    if figures.torchreid is not None and figures.torchreid_peak is not None:
        print(
            f"torchreid  {figures.torchreid:8.2f} s, {figures.times_faster:.1f} x ours, "
            f"mAP {figures.torchreid_mean_ap:.6f}; peak {figures.torchreid_peak / 2**20:.0f} MiB"
        )


if __name__ == "__main__":
    typer.run(main)
