"""Shared by the benchmarks: fresh processes, times, peak memory, and synthetic embeddings."""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from reid_dhm.retrieval.embeddings import EmbeddingSet
from reid_dhm.retrieval.npz import write_evaluation_npz

_PEOPLE = 750
_LABELLED = 13_115
_NOISE = 2.0  # around a person's direction; gives neither a perfect nor a random ranking


def synthetic_sets(
    num_query: int, num_gallery: int, dim: int, seed: int = 0
) -> tuple[EmbeddingSet, EmbeddingSet]:
    """750 people on six cameras; gallery rows beyond 13,115 are distractors, as in Market-1501."""
    rng = np.random.default_rng(seed)
    directions = rng.standard_normal((_PEOPLE + 1, dim), dtype=np.float32)

    def some(pids: np.ndarray) -> EmbeddingSet:
        embeddings = rng.standard_normal((len(pids), dim), dtype=np.float32)
        embeddings *= np.float32(_NOISE)
        embeddings += directions[pids]
        return EmbeddingSet(embeddings, pids, rng.integers(1, 7, len(pids)))

    labelled = rng.integers(1, _PEOPLE + 1, min(num_gallery, _LABELLED))
    distractors = np.zeros(num_gallery - len(labelled), dtype=np.int64)
    gallery_pids = rng.permutation(np.concatenate([labelled, distractors]))
    return some(rng.integers(1, _PEOPLE + 1, num_query)), some(gallery_pids)


@contextmanager
def synthetic_file(num_query: int, num_gallery: int, dim: int) -> Iterator[Path]:
    """A temporary ``.npz`` of :func:`synthetic_sets`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "embeddings.npz"
        write_evaluation_npz(path, *synthetic_sets(num_query, num_gallery, dim))
        yield path


def in_fresh_process(measure: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """The result of ``measure(*arguments)`` in a new process."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as pool:
        return pool.submit(measure, *arguments).result()


def seconds(work: Callable[[], object]) -> float:
    """Wall-clock seconds of ``work``, its GPU kernels included."""
    synchronize()
    start = time.perf_counter()
    work()
    synchronize()
    return time.perf_counter() - start


def synchronize() -> None:
    """Wait for the kernels that were launched on a GPU; without PyTorch, none were."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.synchronize()


@contextmanager
def peak() -> Iterator[Callable[[], int]]:
    """Watch this process; yields a function for its peak bytes of memory since the start."""
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


def times(larger: float | None, smaller: float) -> float | None:
    """How many times longer one takes than the other; None where it was left out."""
    return None if larger is None else larger / smaller
