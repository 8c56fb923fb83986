"""The ``.npz`` files that carry embeddings: of an evaluation, and of ``reid-dhm embed``."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reid_dhm.errors import InputError, NotFoundError, first_line
from reid_dhm.files import atomic_path
from reid_dhm.retrieval.embeddings import (
    EmbeddingSet,
    as_embeddings,
    check_length,
    describe,
    drop_junk,
)

_SIDES = ("query", "gallery")
_ARRAYS = ("embeddings", "pids", "camids")


def read_evaluation_npz(path: Path | str) -> tuple[EmbeddingSet, EmbeddingSet, int]:
    """Read ``query_*`` and ``gallery_*`` arrays (``embeddings``, ``pids``, ``camids``).

    ``query_paths`` and ``gallery_paths``, one string per embedding, are optional.

    Returns:
        query, gallery, and the number of junk gallery rows (negative pid) that were removed.

    Raises:
        InputError: a missing or damaged file, or an array that cannot be used; the message names
            the file.
    """
    path = Path(path)
    names = [f"{side}_{name}" for side in _SIDES for name in _ARRAYS]
    arrays = _read_arrays(path, names, optional=[f"{side}_paths" for side in _SIDES])
    query, gallery = (_side(path, arrays, side) for side in _SIDES)
    try:
        kept = drop_junk(query, gallery)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return query, kept, len(gallery) - len(kept)


def write_evaluation_npz(path: Path | str, query: EmbeddingSet, gallery: EmbeddingSet) -> None:
    """Write a file for :func:`read_evaluation_npz`; it appears whole or not at all."""
    arrays: dict[str, Any] = {}
    for side, rows in (("query", query), ("gallery", gallery)):
        arrays |= {f"{side}_{name}": getattr(rows, name) for name in _ARRAYS}
        if rows.paths is not None:
            arrays[f"{side}_paths"] = np.array(rows.paths, dtype=np.str_)
    _write_arrays(Path(path), arrays)


def write_embeddings(
    path: Path | str, embeddings: NDArray[np.floating], paths: Sequence[str]
) -> None:
    """Write (N, D) embeddings and their N paths; the file appears whole or not at all."""
    embeddings = as_embeddings(embeddings)
    check_length("paths", len(paths), len(embeddings))
    _write_arrays(Path(path), {"embeddings": embeddings, "paths": np.array(paths, dtype=np.str_)})


def read_embeddings(path: Path | str) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """Read what :func:`write_embeddings` wrote: (N, D) float32 embeddings and their N paths.

    Raises:
        InputError: a missing or damaged file, or an array that cannot be used.
    """
    arrays = _read_arrays(Path(path), ["embeddings", "paths"])
    try:
        embeddings = as_embeddings(arrays["embeddings"])
        paths = _as_paths(arrays["paths"])
        check_length("paths", len(paths), len(embeddings))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return embeddings, paths


def _side(path: Path, arrays: Mapping[str, NDArray], side: str) -> EmbeddingSet:
    try:
        embeddings, pids, camids = (arrays[f"{side}_{name}"] for name in _ARRAYS)
        paths = arrays.get(f"{side}_paths")
        return EmbeddingSet(embeddings, pids, camids, None if paths is None else _as_paths(paths))
    except InputError as error:
        raise InputError(f"{path}, {side}: {error}") from error


def _read_arrays(
    path: Path, names: Sequence[str], optional: Sequence[str] = ()
) -> dict[str, NDArray]:
    if not path.is_file():
        what = "a folder" if path.is_dir() else "no such file"
        raise NotFoundError(f"{path}: {what}: give the path of an existing .npz")
    if not zipfile.is_zipfile(path):
        raise InputError(
            f"{path}: not an .npz archive, or truncated: write it again with numpy.savez"
        )
    try:
        _check_sizes(path)
        with np.load(path, allow_pickle=False) as archive:
            missing = [name for name in names if name not in archive.files]
            if missing:
                raise InputError(
                    f"{path}: has no array {', '.join(missing)} (it holds "
                    f"{', '.join(archive.files) or 'nothing'}): write {', '.join(names)}"
                )
            there = [name for name in optional if name in archive.files]
            return {name: archive[name] for name in (*names, *there)}
    except InputError:
        raise
    except MemoryError as error:
        raise InputError(f"{path}: its arrays do not fit in memory: split the file") from error
    except Exception as error:  # NumPy and zipfile raise many types for damaged files
        raise InputError(
            f"{path}: its arrays cannot be read ({first_line(error)}): write plain numeric arrays "
            "again with numpy.savez"
        ) from error


def _check_sizes(path: Path) -> None:
    """Refuse an array whose header promises another size than the file holds.

    Otherwise NumPy allocates what a damaged header says, for example 10¹² rows.
    """
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if not entry.filename.endswith(".npy"):
                continue
            with archive.open(entry) as stream:
                version = np.lib.format.read_magic(stream)
                read_header = {
                    (1, 0): np.lib.format.read_array_header_1_0,
                    (2, 0): np.lib.format.read_array_header_2_0,
                }.get(version)
                if read_header is None:  # version 3 is for structured arrays, which are not used
                    continue
                shape, _, dtype = read_header(stream)
                promised = math.prod(shape) * dtype.itemsize
                if not dtype.hasobject and promised != entry.file_size - stream.tell():
                    raise InputError(
                        f"{path}: array {entry.filename.removesuffix('.npy')!r:.80} has shape "
                        f"{shape!s:.80} but {entry.file_size - stream.tell():,} bytes: write "
                        "it again with numpy.savez"
                    )


def _write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **arrays)


def _as_paths(array: NDArray) -> tuple[str, ...]:
    if array.ndim != 1 or array.dtype.kind != "U":
        raise InputError(f"paths are {describe(array)}: give one str per embedding")
    return tuple(array.tolist())
