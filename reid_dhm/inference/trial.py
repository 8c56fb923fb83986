"""Trying a graph from outside in a process of its own, limited in time and memory.

A graph is a small program: it may loop without end or ask for all memory. What fails here would
have taken this process with it. A graph that passed is remembered and not tried again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

from reid_dhm import errors
from reid_dhm.errors import InputError
from reid_dhm.inference.cache_folder import graphs_folder
from reid_dhm.inference.engines.exported import file_digest, graph_files, installed
from reid_dhm.processes import module_command

logger = logging.getLogger(__name__)

SECONDS = 30
"""Processor time for opening a graph and one image; waiting may take five times that."""
MEMORY = 4 << 30
"""Bytes besides eight times the graph's own size."""


EMBEDDING_TRIAL = "reid_dhm.inference.trial_process"


def try_graph(path: Path, module: str = EMBEDDING_TRIAL, **options: Any) -> None:
    """Open a graph and show it one image in another process, unless it passed before.

    Args:
        path: the graph.
        module: runs as that process; it calls :func:`~reid_dhm.inference.trial_process.report`.
        options: for it, as JSON.

    Raises:
        InputError: the graph needs more time or memory than :data:`SECONDS` and :data:`MEMORY`, or
            crashes; or the error that opening it raised there.
    """
    passed = _marker(path, module)
    if passed is not None and passed.exists():
        return
    request = {
        **options,
        "path": str(path),
        "seconds": SECONDS,
        "memory": MEMORY + 8 * sum(file.stat().st_size for file in graph_files(path)),
    }
    command = module_command(module, json.dumps(request))
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=5 * SECONDS, cwd=Path.cwd(), check=False
        )
    except subprocess.TimeoutExpired:
        raise _unfit(path, "it does not finish") from None
    if done.returncode < 0:
        raise _unfit(path, f"the process ended with signal {-done.returncode}")
    if done.returncode:
        raise _reported(path, done.stdout)
    mark_passed(path, module)


def mark_passed(path: Path, module: str = EMBEDDING_TRIAL) -> None:
    """Remember that a graph can be run, as it was just written and verified, or tried."""
    passed = _marker(path, module)
    try:
        if passed is not None:
            passed.touch()
    except OSError as error:
        logger.debug("%s is tried again the next time: %s", path, error)


def _unfit(path: Path, cause: str) -> InputError:
    return InputError(
        f"{path} cannot process one image within {SECONDS} s of processor time and "
        f"{MEMORY >> 30} GiB of memory ({cause}): use a graph of a plain network"
    )


def _reported(path: Path, output: bytes) -> Exception:
    """The error that the other process printed."""
    try:
        report: dict[str, Any] = json.loads(output)
        kind = getattr(errors, report["type"], InputError)
        return kind(report["message"])
    except (ValueError, KeyError, TypeError):  # it died before it could
        return _unfit(path, "the process failed")


def _marker(path: Path, module: str) -> Path | None:
    """The empty file that says a graph passed, with these libraries."""
    folder = graphs_folder()
    if folder is None:
        return None
    digest = hashlib.sha256(b"" if module == EMBEDDING_TRIAL else module.encode())
    try:
        for file in graph_files(path):
            digest.update(file_digest(file).encode())
    except OSError:  # opening the graph reports it
        return None
    for library in ("openvino", "onnxruntime"):
        digest.update((version(library) if installed(library) else "").encode())
    return folder / f"passed-{digest.hexdigest()}"
