"""The embedded index: FAISS in this process, on the GPU where there is one.

``Flat`` is exact. Any other FAISS factory string is trained where it needs to be, and its search
effort raised until a sample of searches finds nearly all neighbours; the recall reached is kept.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any, BinaryIO

import faiss as _faiss
import numpy as np
from numpy.typing import NDArray

from reid_dhm.errors import InputError
from reid_dhm.gallery.index_rows import IndexRows
from reid_dhm.gallery.records import EmbeddingPage
from reid_dhm.gallery.vectors import Filter, Pages

faiss: Any = _faiss  # the types that it ships leave out half of what it has

# A gallery stores float16, so float16 loses nothing; it takes half the memory and half the time.
_EXACT = "SQfp16"
_PART_ROWS = 2**16  # of an exact index; parts are searched by all threads, and deleted from alone
_SAMPLE = 256  # searches that recall is measured on
_NEIGHBOURS = 10
_ENOUGH_RECALL = 0.97
_TRAINING_ROWS = 2**16
_ROWS_PER_LIST = 64  # that k-means gets for every list of an inverted file
_OUTGROWN = 4  # times as many as it was trained on
_DEPTHS = (1, 2, 4, 8, 16, 32)  # proposals per neighbour where codes are coarser than float16
_LEAST_EFFORT = 16  # candidates on a walk through a graph
_DENSE = 0.1  # share of a graph that must be wanted for walking it to pay
_GPU_MAX_K = 2048  # FAISS's own limit


class FaissIndex:
    """A :class:`~reid_dhm.gallery.vectors.VectorIndex` in this process; for one thread at a time.

    Args:
        dim: length D of a vector.
        kind: ``Flat``, or a FAISS factory string such as ``IVF4096,SQfp16`` or ``HNSW32_SQfp16``.
        device: ``auto`` (every GPU that FAISS sees; searches with a filter stay on the CPU, as
            FAISS cannot filter on a GPU) or ``cpu``.

    Raises:
        InputError: no factory string, or one whose vectors cannot be filtered.
    """

    def __init__(self, dim: int, kind: str = "Flat", device: str = "auto") -> None:
        self.kind, self.dim = kind, dim
        self.exact = kind == "Flat"
        self.recall: float | None = None
        self._gpus = faiss.get_num_gpus() if device == "auto" else 0
        self.device = ("cpu", "cuda")[self._gpus] if self._gpus < 2 else f"cuda x {self._gpus}"
        self._on_gpus: list[Any] | None = None
        self._rows = IndexRows.none()
        self._parts: list[Any] = []
        self._effort = 1  # lists probed, or candidates kept on a walk through a graph
        self._trained_on = 0
        empty = self._new()
        core = _core(empty)  # is empty's, and goes with it
        self._graph = isinstance(core, faiss.IndexHNSW)
        self._depths = _DEPTHS if _code_size(core) < 2 * dim else _DEPTHS[:1]
        self.candidates = 1
        self.name = type(core).__name__

    def __len__(self) -> int:
        return len(self._rows.keys)

    def keys(self) -> NDArray[np.int64]:
        """(N,) keys, ascending."""
        return self._rows.keys

    # What it holds

    def fill(self, pages: Pages, count: int) -> None:
        """Hold these vectors and no others; see :class:`~reid_dhm.gallery.vectors.VectorIndex`."""
        index = self._new()
        if not index.is_trained:
            self._train(index, pages, count)
        self._rows, self._parts, self._on_gpus = IndexRows.none(), [index], None
        self._trained_on = 0
        for page in pages():
            self.add(page)
        self._trained_on = len(self)
        if not self.exact and len(self) > 1:
            self._tune(pages)

    def add(self, page: EmbeddingPage) -> bool:
        """Add vectors whose keys lie above all that are there."""
        rows = IndexRows.of(page)
        self._rows = self._rows.joined(rows)
        vectors = page.embeddings.astype(np.float32)
        while len(vectors):
            if not self._parts or (self.exact and self._parts[-1].ntotal >= _PART_ROWS):
                self._parts.append(self._new())
            part = self._parts[-1]
            fitting = _PART_ROWS - part.ntotal if self.exact else len(vectors)
            part.add_with_ids(vectors[:fitting], rows.keys[:fitting])
            vectors, rows = vectors[fitting:], rows.taken(slice(fitting, None))
        self._on_gpus = None
        return self.exact or not self._trained_on or len(self) <= _OUTGROWN * self._trained_on

    def remove(self, keys: NDArray[np.int64]) -> bool:
        """Remove the vectors of these keys; False for graphs, from which FAISS cannot delete."""
        gone = self._rows.keys[self._rows.places(keys)]
        try:
            for part in self._parts:
                part.remove_ids(faiss.IDSelectorBatch(gone))
        except RuntimeError:  # as graphs do
            return False
        self._rows = self._rows.taken(~np.isin(self._rows.keys, gone))
        if self.exact:
            self._parts = [part for part in self._parts if part.ntotal]
        self._on_gpus = None
        return True

    # Searching

    def search(
        self, queries: NDArray[np.float32], k: int, wanted: Filter | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The k nearest vectors among those wanted; see the protocol."""
        queries = np.ascontiguousarray(queries, np.float32)
        mask = None if wanted is None else self._rows.wanted(wanted)
        if mask is None or mask.all():
            if self._gpus and k <= _GPU_MAX_K:
                return _best(self._search_gpus(queries, k), len(queries), k)
            found = self._over_parts(queries, k, self._parts, None, 1.0)
        elif self._graph and mask.mean() < _DENSE:
            found = [self._scan_graph(queries, k, mask)]
        else:
            starts = np.cumsum([0, *(part.ntotal for part in self._parts)])
            parts = [
                part
                for part, start, end in zip(self._parts, starts[:-1], starts[1:], strict=True)
                if mask[start:end].any()
            ]
            selector = _selector(self._rows.keys[mask])
            found = self._over_parts(queries, k, parts, selector, len(mask) / max(1, mask.sum()))
        return _best(found, len(queries), k)

    def _over_parts(
        self, queries: NDArray[np.float32], k: int, parts: list[Any], selector: Any, among: float
    ) -> list[tuple[NDArray[np.float32], NDArray[np.int64]]]:
        """What each part finds; one vector of every ``among`` is wanted."""

        def search(part: Any) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
            parameters = self._parameters(_core(part), k, selector, among)
            return part.search(queries, min(k, part.ntotal), params=parameters)

        if len(parts) <= 1:  # FAISS's own threads share the work
            return [search(part) for part in parts if part.ntotal]
        return list(self._pool.map(search, parts))

    def _parameters(self, core: Any, k: int, selector: Any, among: float) -> Any:
        """How to search: as many of those wanted are looked at as there would be without a filter.

        That keeps the recall, at the price of looking at others as well.
        """
        if isinstance(core, faiss.IndexIVF):
            lists = min(math.ceil(self._effort * among), core.nlist)
            return faiss.SearchParametersIVF(sel=selector, nprobe=lists)
        if isinstance(core, faiss.IndexHNSW):
            kept = min(math.ceil(max(self._effort, k) * among), core.ntotal)
            return faiss.SearchParametersHNSW(sel=selector, efSearch=kept)
        return None if selector is None else faiss.SearchParameters(sel=selector)

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        # FAISS shares out queries, not rows: one query would leave all threads but one idle.
        return ThreadPoolExecutor(
            faiss.omp_get_max_threads(),
            thread_name_prefix="index",
            initializer=faiss.omp_set_num_threads,
            initargs=(1,),
        )

    def _scan_graph(
        self, queries: NDArray[np.float32], k: int, mask: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """All vectors below a graph that are wanted: a walk would meet too few of them."""
        storage = faiss.downcast_index(_core(self._parts[0]).storage)
        bits = np.packbits(mask, bitorder="little")
        parameters = faiss.SearchParameters(sel=faiss.IDSelectorBitmap(bits))
        scores, rows = storage.search(queries, min(k, len(mask)), params=parameters)
        return scores, np.where(rows >= 0, self._rows.keys[rows], -1)

    def _search_gpus(
        self, queries: NDArray[np.float32], k: int
    ) -> list[tuple[NDArray[np.float32], NDArray[np.int64]]]:
        if self._on_gpus is None:
            options = faiss.GpuMultipleClonerOptions()
            options.useFloat16 = True
            self._on_gpus = [faiss.index_cpu_to_all_gpus(p, options) for p in self._parts]
        return [part.search(queries, min(k, part.ntotal)) for part in self._on_gpus if part.ntotal]

    # Training and measuring

    def _new(self) -> Any:
        kind = _EXACT if self.exact else self.kind
        if self.kind.startswith("IDMap") or "RFlat" in self.kind or "Refine" in self.kind:
            raise InputError(
                f"index {self.kind!r}: leave out IDMap and refinement, both are done anyway "
                "(proposals are scored anew from the gallery's own embeddings)"
            )
        try:
            index = faiss.index_factory(self.dim, kind, faiss.METRIC_INNER_PRODUCT)
            if isinstance(_core(index), faiss.IndexIVF):
                return index  # keeps ids itself
            return faiss.index_factory(self.dim, f"IDMap,{kind}", faiss.METRIC_INNER_PRODUCT)
        except RuntimeError as error:
            raise InputError(
                f"index {self.kind!r} is no FAISS factory string for {self.dim} dimensions: use "
                "Flat for exact search, or one such as IVF4096,SQfp16"
            ) from error

    def _train(self, index: Any, pages: Pages, count: int) -> None:
        core = _core(index)
        rows = _TRAINING_ROWS
        if isinstance(core, faiss.IndexIVF):
            rows = max(rows, _ROWS_PER_LIST * core.nlist)
        sample = np.concatenate([p.embeddings for p in _every(pages, max(1, count // rows))])
        try:
            index.train(sample.astype(np.float32))
        except RuntimeError as error:
            raise InputError(
                f"index {self.kind!r} cannot be trained on {len(sample)} tracklets: use Flat, "
                "which is exact, or fewer lists"
            ) from error

    def _tune(self, pages: Pages) -> None:
        """Raise the effort until a sample of searches finds enough; keep the recall reached."""
        sample = np.concatenate([p.embeddings for p in _every(pages, max(1, len(self) // _SAMPLE))])
        queries, nearest = sample.astype(np.float32), _nearest(sample, pages)
        self._check_filters(queries[:1], nearest[0, 0])
        most = _most_effort(_core(self._parts[0]), len(self))
        self._effort = _LEAST_EFFORT if self._graph else 1
        while True:
            # Each finds itself beside its neighbours.
            _, found = self.search(queries, self._depths[-1] * (_NEIGHBOURS + 1))
            match = found[:, :, None] == nearest[:, None, :]
            place = np.where(match.any(1), match.argmax(1), found.shape[1])[nearest >= 0]
            for depth in self._depths:
                self.candidates = depth
                self.recall = float(np.mean(place < depth * (_NEIGHBOURS + 1)))
                if self.recall >= _ENOUGH_RECALL:
                    return
            if self._effort >= most:
                return
            self._effort = min(most, 2 * self._effort)

    def _check_filters(self, query: NDArray[np.float32], key: np.int64) -> None:
        """Refuse kinds for which FAISS has no filters, or does not heed them."""
        try:
            _, found = self.search(query, 1, Filter(only=np.array([key])))
        except RuntimeError:
            found = np.array([[-1]])
        if found[0, 0] != key:
            raise InputError(
                f"index {self.kind!r} cannot be searched by camera and time in this release of "
                "FAISS: use another, such as IVF4096,SQfp16"
            )

    # Keeping it

    def save(self, file: BinaryIO) -> None:
        """Write all that :meth:`load` needs."""
        facts = {
            "parts": len(self._parts),
            "effort": self._effort,
            "candidates": self.candidates,
            "recall": self.recall,
            "trained_on": self._trained_on,
        }
        file.write(json.dumps(facts).encode() + b"\n")
        self._rows.save(file)
        for part in self._parts:
            faiss.write_index(part, faiss.PyCallbackIOWriter(file.write))

    def load(self, file: BinaryIO) -> None:
        """Become what was saved, by an index of the same kind and dimension."""
        facts = json.loads(file.readline())
        self._rows = IndexRows.load(file)
        self._parts = [
            faiss.read_index(faiss.PyCallbackIOReader(file.read)) for _ in range(facts["parts"])
        ]
        self._effort, self.candidates = facts["effort"], facts["candidates"]
        self.recall = facts["recall"]
        self._trained_on, self._on_gpus = facts["trained_on"], None


def _core(index: Any) -> Any:
    """What does the work, below maps of ids and transforms."""
    while True:
        index = faiss.downcast_index(index)
        if not isinstance(index, faiss.IndexIDMap | faiss.IndexPreTransform):
            return index
        index = index.index


def _code_size(core: Any) -> int:
    """Bytes that an index spends on a vector."""
    return int(core.storage.sa_code_size() if hasattr(core, "storage") else core.sa_code_size())


def _most_effort(core: Any, count: int) -> int:
    if isinstance(core, faiss.IndexIVF):
        return int(core.nlist)
    return min(count, 1024) if isinstance(core, faiss.IndexHNSW) else 1


def _selector(keys: NDArray[np.int64]) -> Any:
    """Tells FAISS which keys are wanted, one bit a key."""
    mask = np.zeros(int(keys[-1]) + 1 if len(keys) else 1, bool)
    mask[keys] = True
    return faiss.IDSelectorBitmap(np.packbits(mask, bitorder="little"))


def _best(
    found: list[tuple[NDArray[np.float32], NDArray[np.int64]]], num_queries: int, k: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The k best of what several parts found; equal ones by key."""
    none = np.empty((num_queries, 0), np.float32), np.empty((num_queries, 0), np.int64)
    scores = np.concatenate([s for s, _ in [none, *found]], axis=1)
    keys = np.concatenate([i for _, i in [none, *found]], axis=1)
    scores = np.where(keys >= 0, scores, np.float32(-np.inf))
    order = np.lexsort((keys, -scores), axis=1)[:, :k]
    lacking = ((0, 0), (0, k - order.shape[1]))
    return (
        np.pad(np.take_along_axis(scores, order, 1), lacking, constant_values=-np.inf),
        np.pad(np.take_along_axis(keys, order, 1), lacking, constant_values=-1),
    )


def _every(pages: Pages, step: int) -> Iterator[EmbeddingPage]:
    """Every step-th row of all pages."""
    offset = 0
    for page in pages():
        yield EmbeddingPage._make(column[-offset % step :: step] for column in page)
        offset += len(page.keys)


def _nearest(sample: NDArray[np.float16], pages: Pages) -> NDArray[np.int64]:
    """(S, 10) keys of the nearest neighbours of vectors, padded with -1; they count as one."""
    queries = sample.astype(np.float32)
    scores = np.empty((len(queries), 0), np.float32)
    keys = np.empty((len(queries), 0), np.int64)
    for page in pages():
        block = queries @ page.embeddings.astype(np.float32).T
        scores = np.concatenate([scores, block], axis=1)
        keys = np.concatenate([keys, np.broadcast_to(page.keys, block.shape)], axis=1)
        best = np.argsort(-scores, axis=1)[:, : _NEIGHBOURS + 1]
        scores, keys = np.take_along_axis(scores, best, 1), np.take_along_axis(keys, best, 1)
    return keys[:, 1:]
