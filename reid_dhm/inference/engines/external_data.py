"""Weights that an ONNX file keeps in other files: only files in its own folder are read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reid_dhm.errors import InputError, NotFoundError


def external_files(model: Any, path: Path) -> list[Path]:
    """The files with the weights of an ``onnx.ModelProto`` that was loaded without them, sorted.

    Raises:
        InputError: a file outside the folder of ``path``, as a name, a path or a link.
        NotFoundError: a missing file.
    """
    found = set()
    for location in set(_locations(model.graph)):
        file = path.parent / location
        if file.resolve().parent != path.parent.resolve():
            raise InputError(
                f"{path} keeps weights in {location}, outside its own folder: save the graph with "
                "its weights beside it"
            )
        if not file.is_file():
            raise NotFoundError(f"{path} keeps weights in {file}, which is missing: copy it there")
        found.add(file)
    return sorted(found)


def _locations(graph: Any) -> Iterator[str]:
    tensors = list(graph.initializer)
    for sparse in graph.sparse_initializer:
        tensors += [sparse.values, sparse.indices]
    for node in graph.node:
        for attribute in node.attribute:
            tensors += [attribute.t, *attribute.tensors]
            for inner in (attribute.g, *attribute.graphs):
                if inner.node or inner.initializer:
                    yield from _locations(inner)
    for tensor in tensors:
        for entry in tensor.external_data:
            if entry.key == "location":
                yield entry.value
