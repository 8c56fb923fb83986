"""Post-training int8 by NNCF, calibrated with images."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from reid_dhm.extras import require
from reid_dhm.inference.engines.exported import INPUT

logger = logging.getLogger(__name__)

# Convolutions, counted from the image, that stay in float32: the fewest that suffice. In the first
# ones an edge is the small difference of large sums, which eight bits lose.
_SPARED = (0, 6, 12, 24)

# Operations that make unit rows, by OpenVINO's and ONNX's names; int8 would change their length.
_LENGTH = ["ReduceL2", "Maximum", "Minimum", "Divide", "Clip", "Div"]


def quantise(
    graph: Any, images: np.ndarray, agreement: Callable[[Any], float], enough: float
) -> Any:
    """A graph in int8, except for the first convolutions where int8 loses too much.

    Args:
        graph: an ``openvino.Model`` or an ``onnx.ModelProto`` in float32.
        images: (N, H, W, 3) uint8, similar to those it will embed; a few hundred suffice.
        agreement: returns the agreement of a quantised graph.
        enough: agreement that ends the search; if none reaches it, the best graph is returned.

    Returns:
        A graph of the same kind.

    Raises:
        InputError: NNCF is not installed.
    """
    nncf = _nncf()
    names = _convolutions(graph)
    named = _is_onnx(graph)
    single = [images[i : i + 1] for i in range(len(images))]
    best: tuple[float, Any] | None = None
    for spared in (number for number in _SPARED if number < len(names)):
        with contextlib.redirect_stdout(sys.stderr):  # stdout is for results
            quantised = nncf.quantize(
                graph,
                nncf.Dataset([{INPUT: image} if named else image for image in single]),
                subset_size=len(single),
                # Linear bottlenecks give activations of either sign, unevenly.
                preset=nncf.QuantizationPreset.MIXED,
                ignored_scope=nncf.IgnoredScope(
                    names=names[:spared], types=_LENGTH, validate=False
                ),
            )
        found = agreement(quantised)
        logger.debug("int8 but for %d convolutions: mean cosine %.4f", spared, found)
        if best is None or found > best[0]:
            best = found, quantised
        if found >= enough:
            break
    assert best is not None
    return best[1]


def _is_onnx(graph: Any) -> bool:
    return hasattr(graph, "graph")


def _convolutions(graph: Any) -> list[str]:
    """Names of the convolutions, from the image on."""
    if _is_onnx(graph):
        return [node.name for node in graph.graph.node if node.op_type == "Conv"]
    kinds = ("Convolution", "GroupConvolution")
    return [
        node.get_friendly_name()
        for node in graph.get_ordered_ops()
        if node.get_type_name() in kinds
    ]


def _nncf() -> ModuleType:
    """The package, imported so that it does not report its use to its maker over the network."""
    require("int8", "int8", "nncf")
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    # It loads the builder of GPU extensions, which warns on every machine without a GPU.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    loggers = logging.getLoggerClass()
    try:
        import nncf
    finally:
        logging.setLoggerClass(loggers)  # nncf sets its own for every library
    # Its set_log_level() would set the level of handlers that others have added, too.
    logging.getLogger("nncf").setLevel(logging.ERROR)
    return nncf
