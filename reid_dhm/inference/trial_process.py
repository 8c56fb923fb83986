"""The process in which :mod:`reid_dhm.inference.trial` tries a graph.

``python -m reid_dhm.inference.trial_process REQUEST`` prints the error, if there is one, as JSON.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from reid_dhm.errors import ReidError, first_line
from reid_dhm.inference.checkpoint_file import CheckpointFile
from reid_dhm.inference.engines.agreement import NotFiniteError
from reid_dhm.inference.engines.options import EngineOptions
from reid_dhm.inference.engines.selection import build_engine
from reid_dhm.inference.graphs import open_graph


def report(request: str, work: Callable[[dict[str, Any]], None]) -> int:
    """Do the work of a request within its limits; 0 if it succeeds, else its error is printed."""
    asked = json.loads(request)
    _limit(asked["seconds"], asked["memory"])
    logging.disable()
    try:
        work(asked)
    except ReidError as error:
        print(json.dumps({"type": type(error).__name__, "message": str(error)}))
        return 1
    except Exception as error:  # whatever a library raises, MemoryError included
        message = f"{asked['path']} cannot be run ({first_line(error)}): export it again"
        print(json.dumps({"type": "InputError", "message": message}))
        return 1
    return 0


def _embed(asked: dict[str, Any]) -> None:
    """Open the graph and embed a black image."""
    size = tuple(asked["size"]) if asked["size"] else None
    file = CheckpointFile(Path(asked["path"]), "graph", size=size, input=asked["input"])
    model, card = open_graph(file, tried=True)
    engine = build_engine(model, card, EngineOptions(device="cpu"))
    with contextlib.suppress(NotFiniteError):  # a black image says little of others
        engine(np.zeros((1, *card.size, 3), np.uint8))


def _limit(seconds: int, memory: int) -> None:
    """Limit this process; Windows knows only the time that the caller waits."""
    with contextlib.suppress(ImportError):
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))


if __name__ == "__main__":
    sys.exit(report(sys.argv[1], _embed))
