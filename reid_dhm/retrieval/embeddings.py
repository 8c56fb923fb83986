"""Embeddings with person and camera ids, checked once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reid_dhm.errors import InputError


@dataclass(frozen=True, eq=False)
class EmbeddingSet:
    """N embeddings with the person and camera of each.

    Attributes:
        embeddings: (N, D) float32, finite; float16 and float64 are converted.
        pids: (N,) int64 person ids; any integer type is converted.
        camids: (N,) int64 camera ids; any integer type is converted.
        paths: N image paths, or None if unknown.

    Raises:
        InputError: a wrong shape, length or type, N or D of 0, or a value that is not finite (its
            row, from 0, is named).
    """

    embeddings: NDArray[np.float32]
    pids: NDArray[np.int64]
    camids: NDArray[np.int64]
    paths: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        embeddings = as_embeddings(self.embeddings)
        object.__setattr__(self, "embeddings", embeddings)
        for name in ("pids", "camids"):
            ids = _as_ids(getattr(self, name), name)
            check_length(name, len(ids), len(embeddings))
            object.__setattr__(self, name, ids)
        if self.paths is not None:
            object.__setattr__(self, "paths", tuple(self.paths))
            check_length("paths", len(self.paths), len(embeddings))

    def __len__(self) -> int:
        return len(self.embeddings)

    @property
    def dim(self) -> int:
        """D, the length of one embedding."""
        return self.embeddings.shape[1]

    def select(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> EmbeddingSet:
        """The rows given by a boolean mask or by indices, in that order."""
        paths = None if self.paths is None else tuple(np.array(self.paths, dtype=object)[rows])
        return EmbeddingSet(self.embeddings[rows], self.pids[rows], self.camids[rows], paths)


def drop_junk(query: EmbeddingSet, gallery: EmbeddingSet) -> EmbeddingSet:
    """The gallery without its junk, the rows whose pid is negative.

    Raises:
        InputError: embeddings of different lengths, a query with a negative pid, or a gallery that
            holds nothing but junk.
    """
    if query.dim != gallery.dim:
        raise InputError(
            f"query embeddings have {query.dim} dimensions and gallery embeddings {gallery.dim}: "
            "make both with the same model"
        )
    if (query.pids < 0).any():
        row = int(np.argmax(query.pids < 0))
        raise InputError(
            f"query_pids row {row} is {query.pids[row]}: give each query a pid of 0 or more"
        )
    kept = gallery.pids >= 0
    if not kept.any():
        raise InputError(
            "every gallery pid is negative (junk), so no gallery is left to rank: give "
            "gallery_pids the person ids"
        )
    return gallery if kept.all() else gallery.select(kept)


def is_distractor(query: EmbeddingSet, gallery: EmbeddingSet) -> NDArray[np.bool_]:
    """(G,) bool, gallery images of nobody in the query set: pid 0, unless a query has it."""
    if (query.pids == 0).any():
        return np.zeros(len(gallery), dtype=np.bool_)
    return gallery.pids == 0


def as_embeddings(array: NDArray) -> NDArray[np.float32]:
    """(N, D) float32, contiguous and finite; copied only if necessary."""
    array = np.asarray(array)
    if array.dtype not in (np.float16, np.float32, np.float64):
        raise InputError(
            f"embeddings have type {array.dtype}: store them as float16, float32 or float64"
        )
    if array.ndim != 2 or 0 in array.shape:
        raise InputError(f"embeddings are {describe(array)}: give (N, D) with N and D above 0")
    with np.errstate(over="ignore"):
        array = np.ascontiguousarray(array, dtype=np.float32)
    if not (np.isfinite(array.min()) and np.isfinite(array.max())):
        row = int(np.argmax(~np.isfinite(array).all(axis=1)))
        raise InputError(
            f"embeddings row {row} holds a value that is not finite in float32: "
            "embed that image again or leave it out"
        )
    return array


def _as_ids(array: NDArray, name: str) -> NDArray[np.int64]:
    array = np.asarray(array)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise InputError(f"{name} are {describe(array)}: give one integer per embedding")
    ids = array.astype(np.int64)
    if (ids != array).any():
        raise InputError(f"{name} hold {array.max()}, beyond the range of int64: renumber from 0")
    return ids


def check_length(name: str, length: int, expected: int) -> None:
    """Refuse an array that has not one entry per embedding."""
    if length != expected:
        raise InputError(
            f"{name} have {length} entries for {expected} embeddings: give one per embedding"
        )


def describe(array: NDArray) -> str:
    """Shape and type of an array, for messages."""
    return f"an array of shape {array.shape} and type {array.dtype}"
