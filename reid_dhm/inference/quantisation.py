"""Post-training int8 by NNCF, calibrated with pictures."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import numpy as np

from reid_dhm.errors import InputError
from reid_dhm.inference.network import INPUT, installed


def quantise_openvino(graph: Any, pictures: np.ndarray) -> Any:
    """An ``openvino.Model`` in int8.

    Args:
        graph: an ``openvino.Model`` in float32.
        pictures: (N, H, W, 3) uint8 of what it will see; a few hundred are enough.

    Raises:
        InputError: NNCF is not installed.
    """
    return _quantise(graph, [pictures[i : i + 1] for i in range(len(pictures))])


def quantise_onnx(graph: Any, pictures: np.ndarray) -> Any:
    """An ``onnx.ModelProto`` in int8, see :func:`quantise_openvino`."""
    return _quantise(graph, [{INPUT: pictures[i : i + 1]} for i in range(len(pictures))])


def _quantise(graph: Any, items: list[Any]) -> Any:
    nncf = _nncf()
    return nncf.quantize(
        graph,
        nncf.Dataset(items),
        subset_size=len(items),
        # Linear bottlenecks give activations of either sign, unevenly.
        preset=nncf.QuantizationPreset.MIXED,
    )


def _nncf() -> ModuleType:
    """The package, imported so that it does not report its use to its maker over the network."""
    if not installed("nncf"):
        raise InputError("int8 is made with nncf, which is missing: pip install nncf")
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import nncf

    return nncf
