"""OpenVINO without telemetry, and through one Core per process."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from reid_dhm.errors import InputError, first_line


def openvino() -> ModuleType:
    """The package, imported so that it does not report its use over the network."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


@cache
def openvino_core() -> Any:
    """The one ``openvino.Core`` of this process, which is never destroyed.

    A Core moves the signal stack into memory of its own and restores the previous one when it is
    destroyed. With several, that may be memory which another has freed, and the next Ctrl+C or
    dead child ends the process with a segmentation fault (seen in 2026.4).
    """
    return openvino().Core()


def read_model(path: Path) -> Any:
    """An ``openvino.Model`` from a file; OpenVINO raises various errors.

    For a file in another format every reader of OpenVINO prints its own messages on stderr, which
    say less than its error: they are discarded.
    """
    core = openvino_core()
    with _discarded_stderr():
        return core.read_model(str(path))


@contextmanager
def _discarded_stderr() -> Iterator[None]:
    try:
        kept = os.dup(2)
    except OSError:  # the process has no stderr
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def read_graph(graph: Any) -> Any:
    """An ``openvino.Model`` from a serialised graph or a file; a model is returned as it is.

    Raises:
        InputError: a file that OpenVINO cannot read.
    """
    if isinstance(graph, bytes):
        return openvino_core().read_model(graph)
    if not isinstance(graph, Path):
        return graph
    beside = graph.with_suffix(".bin")
    if graph.suffix == ".xml" and not beside.is_file():
        raise InputError(
            f"{graph} cannot be read: {beside.name} is missing beside it: copy it there, or export "
            "the model again"
        )
    try:
        return read_model(graph)
    except RuntimeError as error:
        raise InputError(
            f"{graph} cannot be read as a graph ({first_line(error)}): export the model again"
        ) from error
