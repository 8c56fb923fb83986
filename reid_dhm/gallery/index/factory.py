"""FAISS indexes by factory string: building, training, search effort and selection."""

from __future__ import annotations

import math
from typing import Any

import faiss as _faiss
import numpy as np
from numpy.typing import NDArray

from reid_dhm.errors import InputError
from reid_dhm.gallery.index.recall import Pages, every

faiss: Any = _faiss  # the types that it ships leave out half of what it has

_TRAINING_ROWS = 2**16
_ROWS_PER_LIST = 64  # training vectors per list of an inverted file
_EF_SEARCH = (16, 1024)  # range of a graph's search effort

# A gallery stores float16, so float16 loses nothing; it takes half the memory and half the time.
_EXACT = "SQfp16"
_DIVISIBLE = 2**11 * 3 * 5  # by whatever part of an embedding a factory string names


def make_index(dim: int, kind: str) -> Any:
    """An empty index for inner products that takes keys as ids.

    Args:
        dim: length D of a vector.
        kind: ``Flat``, which is exact, or a FAISS factory string.

    Raises:
        InputError: not a factory string, or one that asks for what is done anyway.
    """
    _check_name(kind)
    if kind.startswith("IDMap") or "RFlat" in kind or "Refine" in kind:
        raise InputError(
            f"index {kind!r}: leave out IDMap and refinement, both are always done (proposals are "
            "rescored with the gallery's own embeddings)"
        )
    factory = _EXACT if kind == "Flat" else kind
    try:
        index = faiss.index_factory(dim, factory, faiss.METRIC_INNER_PRODUCT)
        if isinstance(core_of(index), faiss.IndexNSG):
            raise InputError(f"index {kind!r}: FAISS cannot add vectors to it: use HNSW32_SQfp16")
        if is_graph(core_of(index)) and isinstance(index, faiss.IndexPreTransform):
            raise InputError(
                f"index {kind!r}: a transform before a graph is not supported: leave it out, or "
                "use IVF"
            )
        if isinstance(core_of(index), faiss.IndexIVF):
            return index  # keeps ids itself
        return faiss.index_factory(dim, f"IDMap,{factory}", faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        raise InputError(
            f"index {kind!r} is not a FAISS factory string for {dim} dimensions: use Flat for "
            "exact search, or one such as IVF4096,SQfp16"
        ) from error


def check_kind(kind: str) -> None:
    """Refuse a kind of index that embeddings of no length can have.

    Raises:
        InputError: not a factory string.
    """
    _check_name(kind)
    try:
        faiss.index_factory(
            _DIVISIBLE, _EXACT if kind == "Flat" else kind, faiss.METRIC_INNER_PRODUCT
        )
    except RuntimeError as error:
        raise InputError(
            f"index {kind!r:.60} is not a FAISS factory string: use Flat for exact search, or one "
            "such as IVF4096,SQfp16"
        ) from error


def _check_name(kind: str) -> None:
    if len(kind) > 200 or not kind.isascii():  # a long one overflows the stack of FAISS
        raise InputError(f"index {kind[:60]!r} is not a FAISS factory string: use Flat")


def core_of(index: Any) -> Any:
    """The index below id maps and transforms; valid as long as ``index`` is."""
    while True:
        index = faiss.downcast_index(index)
        if not isinstance(index, faiss.IndexIDMap | faiss.IndexPreTransform):
            return index
        index = index.index


def is_graph(core: Any) -> bool:
    """Whether it is a graph, from which FAISS cannot delete."""
    return isinstance(core, faiss.IndexHNSW)


def code_size(core: Any) -> int:
    """Bytes per vector."""
    return int(core.storage.sa_code_size() if is_graph(core) else core.sa_code_size())


def train(index: Any, kind: str, pages: Pages, count: int) -> None:
    """Train an index on a sample of the vectors, if its kind needs training.

    Raises:
        InputError: too few vectors.
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
    """Search efforts, ascending: lists probed (``nprobe``), or a graph's ``efSearch``."""
    if isinstance(core, faiss.IndexIVF):
        return [*(2**n for n in range(core.nlist.bit_length()) if 2**n < core.nlist), core.nlist]
    if is_graph(core):
        least, most = _EF_SEARCH
        return [2**n for n in range(least.bit_length() - 1, most.bit_length())]
    return [1]


def search_parameters(core: Any, effort: int, k: int, selector: Any, among: float) -> Any:
    """FAISS's search parameters; a selector raises the effort so that the recall stays.

    Args:
        core: of the index.
        effort: one of :func:`efforts`.
        k: neighbours per query.
        selector: of the vectors that may be found; None for all.
        among: one vector in so many may be found.
    """
    if isinstance(core, faiss.IndexIVF):
        lists = min(math.ceil(effort * among), core.nlist)
        return faiss.SearchParametersIVF(sel=selector, nprobe=lists)
    if is_graph(core):
        kept = min(math.ceil(max(effort, k) * among), core.ntotal)
        return faiss.SearchParametersHNSW(sel=selector, efSearch=kept)
    return None if selector is None else faiss.SearchParameters(sel=selector)


def to_gpus(index: Any, effort: int) -> Any:
    """A copy on every GPU, in float16, searched with this effort.

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
    """FAISS's selector of the ids that may be found, one bit per id up to the highest.

    Args:
        ids: (N,) ascending, at least one.
        wanted: (N,) bool.
    """
    first, last = int(ids[0]), int(ids[-1])
    mask = np.zeros(last + 1, bool)
    if last - first + 1 == len(ids):
        mask[first:] = wanted
    else:
        mask[ids] = wanted
    return faiss.IDSelectorBitmap(np.packbits(mask, bitorder="little"))
