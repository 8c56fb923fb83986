"""Unit vectors by key in FAISS, searched by inner product; on the GPU if there is one.

``Flat`` is exact. Any other FAISS factory string is trained if it needs training, and its search
effort is raised until a sample of searches finds nearly all neighbours.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any, BinaryIO, TypeAlias

import faiss as _faiss
import numpy as np
from numpy.typing import NDArray

from reid_dhm.errors import InputError
from reid_dhm.gallery.index.factory import (
    code_size,
    core_of,
    efforts,
    is_graph,
    make_index,
    search_parameters,
    selector_of,
    to_gpus,
    train,
)
from reid_dhm.gallery.index.recall import (
    NEIGHBOURS,
    Pages,
    recall_by_depth,
    sample_searches,
    up_to,
)
from reid_dhm.gallery.index.rows import IndexRows
from reid_dhm.gallery.records import EmbeddingPage

faiss: Any = _faiss  # the types that it ships leave out half of what it has

_PART_ROWS = 2**14  # of an exact index: threads share its parts, deletion rewrites one of them
_SEARCHES = 256  # that recall is measured on
_ENOUGH_RECALL = 0.985  # for tracklets' means; single images find slightly less
_DEPTHS = (1, 2, 4, 8, 16, 32)  # proposals per neighbour where codes are coarser than float16
_OUTGROWN = 4  # times the vectors it was trained on
_DENSE = 0.1  # below this share of a graph that may be found, a scan is faster than a walk
_GPU_MAX_K = 2048  # FAISS's own limit
_THREADS = faiss.omp_get_max_threads()

Found: TypeAlias = "tuple[NDArray[np.float32], NDArray[np.int64]]"
"""(Q, n) float32 inner products and int64 keys, best first; -inf and -1 where fewer were found."""

Task: TypeAlias = "tuple[Any, NDArray[np.float32]]"
"""A part of an index, and queries to search it for."""


class FaissIndex:
    """Unit vectors by key, with cameras and times to filter by; for one thread at a time.

    Args:
        dim: length D of a vector.
        kind: ``Flat``, or a FAISS factory string such as ``IVF4096,SQfp16`` or ``HNSW32_SQfp16``.
        device: ``auto`` (every GPU that FAISS sees; filtered searches run on the CPU, as FAISS
            cannot filter on a GPU) or ``cpu``.

    Attributes:
        kind: as given.
        name: class of the FAISS index.
        device: where it runs.
        rows: keys, cameras and times of the vectors.
        exact: whether neighbours are missed only through rounding.
        recall: share of the ten nearest among the proposals of a sample of searches, measured when
            the index was filled; None if exact or not measured.
        candidates: proposals to rescore per neighbour, 1 or more.

    Raises:
        InputError: not a factory string.
    """

    def __init__(self, dim: int, kind: str = "Flat", device: str = "auto") -> None:
        self.kind, self.dim = kind, dim
        self.exact = kind == "Flat"
        self.recall: float | None = None
        self.candidates = 1
        self._gpus = faiss.get_num_gpus() if device == "auto" else 0
        self.device = ("cpu", "cuda")[self._gpus] if self._gpus < 2 else f"cuda x {self._gpus}"
        self._on_gpus: list[Any] | None = None
        self.rows = IndexRows.none()
        self._parts: list[Any] = []
        self._trained_on = 0
        empty = self._new()
        core = core_of(empty)
        self.name = type(core).__name__
        self._graph = is_graph(core)
        self._effort = efforts(core)[0]
        self._depths = _DEPTHS if code_size(core) < 2 * dim else _DEPTHS[:1]

    def __len__(self) -> int:
        """Number of vectors."""
        return len(self.rows.keys)

    # Content

    def fill(self, pages: Pages, count: int) -> None:
        """Replace the content with these vectors, after training if the kind needs it.

        Args:
            pages: reads them; called as often as needed.
            count: about how many there are.

        Raises:
            InputError: too few to train on, or FAISS cannot filter this kind.
        """
        index = self._new()
        train(index, self.kind, pages, count)
        self.rows, self._parts, self._on_gpus = IndexRows.none(), [index], None
        self._trained_on = 0
        for page in pages():
            self.add(page)
        self._trained_on = len(self)
        if not self.exact and len(self) > 1:
            self._tune(pages)

    def add(self, page: EmbeddingPage) -> bool:
        """Add vectors whose keys are above all present ones.

        Returns:
            False if the index has outgrown its training and should be filled again.
        """
        rows = IndexRows.of(page)
        self.rows = self.rows.joined(rows)
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
        """Remove the vectors of these keys; absent keys are ignored.

        Returns:
            False for graphs, from which FAISS cannot delete: fill the index again.
        """
        gone = self.rows.keys[self.rows.places(keys)]
        try:
            for part in self._parts:
                part.remove_ids(faiss.IDSelectorBatch(gone))
        except RuntimeError:  # as graphs do, before anything is changed
            return False
        self.rows = self.rows.taken(~np.isin(self.rows.keys, gone))
        if self.exact:
            self._parts = [part for part in self._parts if part.ntotal]
        self._on_gpus = None
        return True

    def _new(self) -> Any:
        return make_index(self.dim, self.kind)

    def _tune(self, pages: Pages) -> None:
        """Raise the search effort until the recall of a sample of searches is enough."""
        # Vectors added to the gallery meanwhile are not in this index.
        held = up_to(pages, int(self.rows.keys[-1]))
        queries, nearest = sample_searches(held, len(self), _SEARCHES)
        self._check_filters(queries[:1])
        for effort in efforts(core_of(self._parts[0])):
            self._effort = effort
            depth = self._depths[-1] * (NEIGHBOURS + 1)
            # On the CPU, where the effort can be changed.
            parts = self._search_parts(queries, depth, self._parts, None, 1.0)
            _, found = _best(parts, len(queries), depth)
            recalls = recall_by_depth(found, nearest, self._depths)
            enough = [recall >= _ENOUGH_RECALL for recall in recalls]
            place = enough.index(True) if any(enough) else -1
            self.candidates, self.recall = self._depths[place], recalls[place]
            if enough[place]:
                return

    def _check_filters(self, query: NDArray[np.float32]) -> None:
        """Refuse kinds for which FAISS has no filters, or ignores them."""
        mask = np.arange(len(self)) == 0
        try:
            _, found = self.search(query, 1, mask)
        except (RuntimeError, AssertionError):  # from FAISS, and from its Python side
            found = np.array([[-1]])
        if found[0, 0] != self.rows.keys[0]:
            raise InputError(
                f"index {self.kind!r} cannot be searched by camera and time in this release of "
                "FAISS: use another, such as IVF4096,SQfp16"
            )

    # Searching

    def search(
        self, queries: NDArray[np.float32], k: int, mask: NDArray[np.bool_] | None = None
    ) -> Found:
        """The k nearest vectors, best first, equal ones by key.

        Args:
            queries: (Q, D) float32 unit rows.
            k: neighbours per query, 1 or more.
            mask: (N,) bool, which rows may be found; all by default.

        Returns:
            scores: (Q, k) float32 inner products as the index approximates them; -inf where fewer
                than k were found.
            keys: (Q, k) int64, -1 where fewer were found.
        """
        queries = np.ascontiguousarray(queries, np.float32)
        if mask is None or mask.all():
            found = self._search_gpus(queries, k) if self._gpus and k <= _GPU_MAX_K else None
            if found is None:
                found = self._search_parts(queries, k, self._parts, None, 1.0)
        elif not mask.any():
            found = []
        elif self._graph and mask.mean() < _DENSE:
            found = [self._scan_graph(queries, k, mask)]
        else:
            starts = np.cumsum([0, *(part.ntotal for part in self._parts[:-1])])
            some = np.logical_or.reduceat(mask, starts)
            parts = [part for part, any_of_it in zip(self._parts, some, strict=True) if any_of_it]
            selector = selector_of(self.rows.keys, mask)
            found = self._search_parts(queries, k, parts, selector, len(mask) / mask.sum())
        return _best(found, len(queries), k)

    def _search_parts(
        self, queries: NDArray[np.float32], k: int, parts: list[Any], selector: Any, among: float
    ) -> list[Found]:
        """What each part finds; one vector in every ``among`` may be found."""
        # FAISS distributes queries over threads, so a single query uses one thread, and its threads
        # meet at barriers, which are slow on a busy machine. Here threads share the parts.
        shares = [queries]
        if len(parts) < _THREADS:
            shares = np.array_split(queries, max(1, min(_THREADS, len(queries))))

        def search(task: Task) -> Found:
            part, share = task
            parameters = search_parameters(core_of(part), self._effort, k, selector, among)
            return part.search(share, min(k, part.ntotal), params=parameters)

        tasks = [(part, share) for part in parts if part.ntotal for share in shares]
        found = _alone(search, tasks[0]) if len(tasks) == 1 else list(self._pool.map(search, tasks))
        groups = [found[i : i + len(shares)] for i in range(0, len(found), len(shares))]
        return [
            (np.concatenate([s for s, _ in group]), np.concatenate([i for _, i in group]))
            for group in groups
        ]

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(
            _THREADS,
            thread_name_prefix="index",
            initializer=faiss.omp_set_num_threads,
            initargs=(1,),
        )

    def _scan_graph(self, queries: NDArray[np.float32], k: int, mask: NDArray[np.bool_]) -> Found:
        """Scan a graph's storage: a walk would meet too few of the vectors that may be found."""
        storage = faiss.downcast_index(core_of(self._parts[0]).storage)
        parameters = faiss.SearchParameters(sel=selector_of(np.arange(len(mask)), mask))
        scores, rows = storage.search(queries, min(k, len(mask)), params=parameters)
        return scores, np.where(rows >= 0, self.rows.keys[rows], -1)

    def _search_gpus(self, queries: NDArray[np.float32], k: int) -> list[Found] | None:
        """What the GPUs find; None if FAISS has no GPU version of this index."""
        try:
            if self._on_gpus is None:
                self._on_gpus = [to_gpus(part, self._effort) for part in self._parts]
            parts = (part for part in self._on_gpus if part.ntotal)
            return [part.search(queries, min(k, part.ntotal)) for part in parts]
        except RuntimeError:
            self._gpus, self.device, self._on_gpus = 0, "cpu", None
            return None

    # Saving

    def save(self, file: BinaryIO) -> None:
        """Write everything that :meth:`load` needs."""
        facts = {
            "parts": len(self._parts),
            "effort": self._effort,
            "candidates": self.candidates,
            "recall": self.recall,
            "trained_on": self._trained_on,
        }
        file.write(json.dumps(facts).encode() + b"\n")
        self.rows.save(file)
        for part in self._parts:
            faiss.write_index(part, faiss.PyCallbackIOWriter(file.write))

    def load(self, file: BinaryIO) -> None:
        """Read what an index of the same kind and dimension saved."""
        facts = json.loads(file.readline())
        self.rows = IndexRows.load(file)
        self._parts = [
            faiss.read_index(faiss.PyCallbackIOReader(file.read)) for _ in range(facts["parts"])
        ]
        self._effort, self.candidates = facts["effort"], facts["candidates"]
        self.recall, self._trained_on = facts["recall"], facts["trained_on"]
        self._on_gpus = None


def _alone(search: Callable[[Task], Found], task: Task) -> list[Found]:
    """Search one part in this thread, without FAISS's other threads."""
    faiss.omp_set_num_threads(1)  # affects this thread only
    try:
        return [search(task)]
    finally:
        faiss.omp_set_num_threads(_THREADS)


def _best(found: list[Found], num_queries: int, k: int) -> Found:
    """The k best of several parts; equal ones by key."""
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
