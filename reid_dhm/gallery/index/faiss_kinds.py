"""What is peculiar to each kind of FAISS index: making, training, how hard to search, selecting."""

from __future__ import annotations

import math
from typing import Any

import faiss as _faiss
import numpy as np
from numpy.typing import NDArray

from reid_dhm.errors import InputError
from reid_dhm.gallery.index.index_recall import every
from reid_dhm.gallery.index.vectors import Pages

faiss: Any = _faiss  # the types that it ships leave out half of what it has

_TRAINING_ROWS = 2**16
_ROWS_PER_LIST = 64  # that k-means gets for every list of an inverted file
_LEAST_KEPT, _MOST_KEPT = 16, 1024  # candidates on a walk through a graph


def make_index(dim: int, kind: str, factory: str) -> Any:
    """An empty index for inner products that takes keys as ids.

    Args:
        dim: length of a vector.
        kind: what the user calls it.
        factory: the FAISS factory string that stands for it.

    Raises:
        InputError: no factory string, or one that asks for what is done here anyway.
    """
    if kind.startswith("IDMap") or "RFlat" in kind or "Refine" in kind:
        raise InputError(
            f"index {kind!r}: leave out IDMap and refinement, both are done anyway (proposals are "
            "scored anew from the gallery's own embeddings)"
        )
    try:
        index = faiss.index_factory(dim, factory, faiss.METRIC_INNER_PRODUCT)
        if isinstance(core_of(index), faiss.IndexNSG):
            raise InputError(
                f"index {kind!r} is a graph to which FAISS cannot add: use HNSW32_SQfp16"
            )
        if is_graph(core_of(index)) and isinstance(index, faiss.IndexPreTransform):
            raise InputError(
                f"index {kind!r} transforms vectors before a graph: leave out the transform, or "
                "use it before an IVF"
            )
        if isinstance(core_of(index), faiss.IndexIVF):
            return index  # keeps ids itself
        return faiss.index_factory(dim, f"IDMap,{factory}", faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        raise InputError(
            f"index {kind!r} is no FAISS factory string for {dim} dimensions: use Flat for exact "
            "search, or one such as IVF4096,SQfp16"
        ) from error


def core_of(index: Any) -> Any:
    """What does the work, below maps of ids and transforms; it lives as long as ``index``."""
    while True:
        index = faiss.downcast_index(index)
        if not isinstance(index, faiss.IndexIDMap | faiss.IndexPreTransform):
            return index
        index = index.index


def is_graph(core: Any) -> bool:
    """Whether it is searched by a walk, and cannot delete."""
    return isinstance(core, faiss.IndexHNSW)


def code_size(core: Any) -> int:
    """Bytes that an index spends on a vector."""
    return int(core.storage.sa_code_size() if is_graph(core) else core.sa_code_size())


def train(index: Any, kind: str, pages: Pages, count: int) -> None:
    """Train an index on a sample of the vectors, where it needs to be.

    Raises:
        InputError: there are too few.
    """
    if index.is_trained:
        return
    core, rows = core_of(index), _TRAINING_ROWS
    if isinstance(core, faiss.IndexIVF):
        rows = max(rows, _ROWS_PER_LIST * core.nlist)
    sample = np.concatenate([p.embeddings for p in every(pages, max(1, count // rows))])
    try:
        index.train(sample.astype(np.float32))
    except RuntimeError as error:
        raise InputError(
            f"index {kind!r} cannot be trained on {len(sample)} tracklets: use Flat, which is "
            "exact, or fewer lists"
        ) from error


def efforts(core: Any) -> list[int]:
    """How hard an index can be searched: lists probed, or candidates kept on a walk; ascending."""
    if isinstance(core, faiss.IndexIVF):
        return [*(2**n for n in range(core.nlist.bit_length()) if 2**n < core.nlist), core.nlist]
    if is_graph(core):
        return [2**n for n in range(_LEAST_KEPT.bit_length() - 1, _MOST_KEPT.bit_length())]
    return [1]


def search_parameters(core: Any, effort: int, k: int, selector: Any, among: float) -> Any:
    """How to search, such that as many of those wanted are looked at as without a selector.

    That keeps the recall, at the price of looking at others as well.

    Args:
        core: of the index.
        effort: one of :func:`efforts`.
        k: neighbours asked for.
        selector: who is wanted; None for all.
        among: one vector of so many is wanted.
    """
    if isinstance(core, faiss.IndexIVF):
        lists = min(math.ceil(effort * among), core.nlist)
        return faiss.SearchParametersIVF(sel=selector, nprobe=lists)
    if is_graph(core):
        kept = min(math.ceil(max(effort, k) * among), core.ntotal)
        return faiss.SearchParametersHNSW(sel=selector, efSearch=kept)
    return None if selector is None else faiss.SearchParameters(sel=selector)


def to_gpus(index: Any, effort: int) -> Any:
    """A copy on every GPU, in float16, which is searched with this effort.

    Raises:
        RuntimeError: FAISS has no GPU version of it.
    """
    core = core_of(index)
    if isinstance(core, faiss.IndexIVF):
        core.nprobe = effort  # the copy takes it over, and no other where there are several GPUs
    options = faiss.GpuMultipleClonerOptions()
    options.useFloat16 = True
    return faiss.index_cpu_to_all_gpus(index, options)


def selector_of(ids: NDArray[np.int64], wanted: NDArray[np.bool_]) -> Any:
    """Tells FAISS which ids are wanted, one bit an id up to the highest.

    Args:
        ids: (N,) ascending, at least one.
        wanted: (N,) which of them.
    """
    first, last = int(ids[0]), int(ids[-1])
    mask = np.zeros(last + 1, bool)
    if last - first + 1 == len(ids):
        mask[first:] = wanted
    else:
        mask[ids] = wanted
    return faiss.IDSelectorBitmap(np.packbits(mask, bitorder="little"))
