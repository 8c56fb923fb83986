"""Compares gallery search, exact and approximate, with brute force in NumPy as a gallery grows.

A real gallery is written, tracklet by tracklet, and searched one image at a time. The methods
alternate every twenty searches in one process: ours on the open gallery (index, exact scores from
SQLite, rows of the candidates), NumPy with a float32 product with the matrix of all embeddings and
a partial sort. Building and memory are measured in separate processes.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import psutil
from numpy.typing import NDArray

from reid_dhm.benchmarks.harness import in_fresh_process, peak
from reid_dhm.benchmarks.synthetic_embeddings import SyntheticEmbeddings
from reid_dhm.gallery.index.live_index import LiveIndex
from reid_dhm.gallery.records import DETECTION, Crop, NewTracklet, NewVideo, TrackletFilter
from reid_dhm.gallery.search.searcher import Searcher
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.store.writing import VideoWriter

TOP_K = 10
CAMERAS = ("gate", "yard", "hall", "roof")
_PER_PERSON = 5
_BATCH = 20_000
_WARM_UP = 5
_TURN = 20  # searches in a row, so that each method finds its own data in the CPU cache


@dataclass(frozen=True)
class Latency:
    """Seconds of single searches: median and 99th percentile."""

    p50: float
    p99: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Latency:
        """The quantiles of measured seconds."""
        return cls(*np.quantile(seconds, [0.5, 0.99]).tolist())


@dataclass(frozen=True)
class SearchMethod:
    """One way of searching one gallery.

    Attributes:
        name: kind of index, or ``NumPy``.
        search: an image's embedding to the ten best candidates with their metadata.
        proposals: its index step alone; None for NumPy.
        filtered: as ``search``, in one of four cameras; None for NumPy.
        recall: recall@10 against exact search.
        build: seconds to build the index from the gallery; None for NumPy.
        reopen: seconds to read it from the cache; None for NumPy.
        build_peak: bytes above those at the start while building; None for NumPy.
        memory: resident bytes per embedding.
    """

    name: str
    search: Latency
    proposals: Latency | None
    filtered: Latency | None
    recall: float
    build: float | None
    reopen: float | None
    build_peak: int | None
    memory: float


@dataclass(frozen=True)
class SearchFigures:
    """Measurements on a gallery of one size.

    Attributes:
        num_tracklets, dim: of the gallery.
        threads: of FAISS.
        num_queries: single searches by each method.
        file_bytes: size of the gallery's SQLite file.
        exact, approximate, numpy: the methods.
    """

    num_tracklets: int
    dim: int
    threads: int
    num_queries: int
    file_bytes: int
    exact: SearchMethod
    approximate: SearchMethod
    numpy: SearchMethod

    @property
    def times_faster(self) -> float:
        """Median latency of exact search over that of approximate search."""
        return self.exact.search.p50 / self.approximate.search.p50

    @property
    def over_numpy(self) -> float:
        """Median latency of NumPy over that of our exact search."""
        return self.numpy.search.p50 / self.exact.search.p50


def compare_search(
    sizes: Sequence[int],
    dim: int = 512,
    num_queries: int = 300,
    index: str | None = None,
    folder: Path | None = None,
    on_done: Callable[[SearchFigures], None] | None = None,
) -> list[SearchFigures]:
    """Measure all methods on a gallery that grows through these sizes.

    Args:
        sizes: numbers of tracklets, ascending.
        dim: length of an embedding.
        num_queries: searches by each method.
        index: of approximate search; :func:`suggested` by default.
        folder: for the gallery, which is removed at the end; a temporary folder by default.
        on_done: called with the figures of each size.
    """
    people = SyntheticEmbeddings(max(1, sizes[-1] // _PER_PERSON), dim)
    queries = people.images(num_queries)[0]
    made = []
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        path = Path(scratch) / "gallery"
        with GalleryStore(path, create=True) as gallery:
            gallery.claim_model("synthetic", dim, "made up")
            for size in sizes:
                grow(gallery, people, size)
                made.append(_measure(gallery, queries, index or suggested(size, dim)))
                if on_done is not None:
                    on_done(made[-1])
    return made


def suggested(count: int, dim: int) -> str:
    """An approximate index for ``count`` embeddings: 2·√N lists, 4-bit codes of 4 numbers each."""
    lists = 2 ** round(math.log2(2 * math.sqrt(count)))
    return f"IVF{lists},PQ{math.gcd(dim, max(1, dim // 4))}x4fs"


def grow(gallery: GalleryStore, people: SyntheticEmbeddings, size: int) -> None:
    """Add tracklets until there are ``size``, in about equal parts before each camera."""
    boxes = np.zeros(2, DETECTION)
    boxes["frame"], boxes["time"], boxes["box"] = (0, 10), (0, 1), (0, 0, 32, 64)
    batch = min(_BATCH, -(-(size - gallery.state().tracklets) // len(CAMERAS)))
    while (there := gallery.state().tracklets) < size:
        means, _ = people.tracklets(min(batch, size - there))
        number = len(gallery.videos())
        video = NewVideo(f"{number:016x}", f"{number}.avi", 10.0, 64, 64)
        writer = VideoWriter.open(gallery, CAMERAS[number % len(CAMERAS)], video)
        writer.add(
            [
                NewTracklet(row, boxes, [Crop(0, 0.0, (0, 0, 32, 64), 1.0, b"", mean)], mean)
                for row, mean in enumerate(means, 1)
            ]
        )
        writer.finish()


def _measure(
    gallery: GalleryStore, queries: NDArray[np.float32], approximate: str
) -> SearchFigures:
    kinds = ["Flat", approximate]
    gallery.empty_cache()  # of a smaller gallery
    built = {kind: in_fresh_process(_build, gallery.folder, kind) for kind in kinds}
    opened = {kind: in_fresh_process(_reopen, gallery.folder, kind) for kind in kinds}
    live = {kind: LiveIndex(kind) for kind in kinds}
    searchers = {kind: Searcher(gallery, live[kind]) for kind in kinds}
    keys, matrix = _everything(gallery)

    clock = _Clock()
    found: dict[str, list[float]] = {kind: [] for kind in kinds}
    warm_up, *turns = np.split(queries, range(_WARM_UP, len(queries), _TURN))
    for turn in (warm_up, *turns):
        if turn is turns[0]:
            clock.seconds.clear()
        nearest = [keys[clock("NumPy", "search", _brute_force, matrix, query)] for query in turn]
        for kind, searcher in searchers.items():
            for query, truth in zip(turn, nearest, strict=True):
                matches = clock(kind, "search", searcher.search, query[None], TOP_K)
                right = set(truth.tolist()) & {match.tracklet.key for match in matches}
                found[kind].append(len(right) / len(truth))
            for query in turn:
                among = TrackletFilter(cameras=["yard"])
                clock(kind, "filtered", searcher.search, query[None], TOP_K, among)
            index = live[kind].opened(gallery)
            for query in turn:
                clock(kind, "proposals", index.search, query[None], TOP_K * index.candidates)

    def method(kind: str) -> SearchMethod:
        return SearchMethod(
            kind,
            Latency.of(clock.seconds[kind, "search"]),
            Latency.of(clock.seconds[kind, "proposals"]),
            Latency.of(clock.seconds[kind, "filtered"]),
            float(np.mean(found[kind])),
            **built[kind],
            **opened[kind],
        )

    brute = SearchMethod(
        "NumPy", Latency.of(clock.seconds["NumPy", "search"]), None, None, 1.0, None, None, None,
        matrix.nbytes / len(matrix),
    )  # fmt: skip
    return SearchFigures(
        len(matrix),
        matrix.shape[1],
        faiss.omp_get_max_threads(),
        len(queries) - _WARM_UP,
        gallery.path.stat().st_size,
        method("Flat"),
        method(approximate),
        brute,
    )


class _Clock:
    """Runs functions and records their seconds by method and kind of work."""

    def __init__(self) -> None:
        self.seconds: dict[tuple[str, str], list[float]] = {}

    def __call__(self, side: str, what: str, work: Callable[..., Any], *arguments: Any) -> Any:
        start = time.perf_counter()
        result = work(*arguments)
        self.seconds.setdefault((side, what), []).append(time.perf_counter() - start)
        return result


def _everything(gallery: GalleryStore) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """(N,) keys and (N, D) float32 rows."""
    matrix = np.empty((gallery.state().tracklets, gallery.dim or 0), np.float32)
    keys = gallery.keys()
    start = 0
    for page in gallery.pages():
        matrix[start : start + len(page.keys)] = page.embeddings
        start += len(page.keys)
    return keys, matrix


def _brute_force(matrix: NDArray[np.float32], query: NDArray[np.float32]) -> NDArray[np.int64]:
    scores = matrix @ query
    best = np.argpartition(scores, -TOP_K)[-TOP_K:]
    return best[np.argsort(-scores[best])]


def _build(folder: Path, kind: str) -> dict[str, Any]:
    """Build an index from the gallery and write it to the cache."""
    with GalleryStore(folder) as gallery:
        start = time.perf_counter()
        with peak() as highest:
            LiveIndex(kind).opened(gallery)
        return {"build": time.perf_counter() - start, "build_peak": highest()}


def _reopen(folder: Path, kind: str) -> dict[str, Any]:
    """Read an index from the cache."""
    process = psutil.Process()
    with GalleryStore(folder) as gallery:
        before, start = process.memory_info().rss, time.perf_counter()
        index = LiveIndex(kind).opened(gallery)
        seconds = time.perf_counter() - start
        return {"reopen": seconds, "memory": (process.memory_info().rss - before) / len(index)}
