"""OpenVINO, as everything here uses it: without telemetry, and through one Core."""

from __future__ import annotations

import sys
from functools import cache
from types import ModuleType
from typing import Any


def openvino() -> ModuleType:
    """The package, imported so that it does not report its use to its maker over the network."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


@cache
def openvino_core() -> Any:
    """The one ``openvino.Core`` of this process, which is never taken down.

    A Core moves the stack that signals are handled on into memory of its own, and when it goes it
    puts back what was there before. With several, that may be what another has freed, and the next
    Ctrl+C or dead child ends the process with a segmentation fault (seen in 2026.4).
    """
    return openvino().Core()
