"""Detectors by name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from reid_dhm.errors import InputError, NotFoundError
from reid_dhm.inference.zoo import registry
from reid_dhm.inference.zoo.entries import DETECTION

if TYPE_CHECKING:
    from reid_dhm.gallery.detect.protocol import Detector

KINDS = (
    "a name of `reid-dhm models`, an .onnx or .xml file, yolox:FILE, ssd:FILE, torchvision:NAME, "
    "torchvision:NAME:WEIGHTS, mot:FILE or motion"
)
_GRAPHS = (".onnx", ".xml")


def build_detector(text: str = "motion", confidence: float | None = None) -> Detector:
    """Build the detector that a user names.

    Args:
        text: a name of the model zoo, or a graph's file, whose outputs tell YOLOX from SSD;
            ``yolox:FILE`` or ``ssd:FILE``; ``torchvision:NAME`` with weights from torchvision, or
            from a file as ``torchvision:NAME:WEIGHTS``; ``mot:FILE`` (MOTChallenge's ``det.txt``);
            or ``motion`` (anything that moves before a fixed camera; needs no weights).
        confidence: lowest score of a box; the detector's own by default.

    Raises:
        InputError: an unknown kind, a file that is not a detector, or a confidence outside 0 to 1
            or for ``motion``, which has none.
        NotFoundError: a file that does not exist.
    """
    check_detector(text, confidence)
    named = registry.find(text, DETECTION)
    if named is not None:
        text = str(named.path)
    if text.endswith(_GRAPHS) and Path(text).is_file():
        text = f"{_kind_of(Path(text))}:{text}"
    kind, _, rest = text.partition(":")
    options = {} if confidence is None else {"confidence": confidence}
    if kind == "yolox" and rest:
        from reid_dhm.gallery.detect.yolox import YoloxDetector

        return YoloxDetector(Path(rest), **options)
    if kind == "ssd" and rest:
        from reid_dhm.gallery.detect.ssd import SsdDetector

        return SsdDetector(Path(rest), **options)
    if kind == "torchvision" and rest:
        from reid_dhm.gallery.detect.torchvision import TorchvisionDetector

        name, _, weights = rest.partition(":")
        return TorchvisionDetector(name, Path(weights) if weights else None, **options)
    if kind == "mot" and rest:
        from reid_dhm.gallery.detect.mot import MotDetections

        return MotDetections(Path(rest), **options)
    from reid_dhm.gallery.detect.motion import MotionDetector

    return MotionDetector()


def check_detector(text: str, confidence: float | None = None) -> None:
    """Refuse a detector that cannot exist, without loading anything.

    Raises:
        InputError: as :func:`build_detector` for its arguments.
        NotFoundError: a file that does not exist.
    """
    if confidence is not None and not 0 <= confidence < 1:
        raise InputError(f"confidence is {confidence}: give 0 or more, below 1")
    if text == "motion" and confidence is not None:
        raise InputError("motion has no scores: drop the confidence, or name another detector")
    kind, _, rest = text.partition(":")
    if kind in ("yolox", "ssd", "mot") and rest:
        if not Path(rest).is_file():
            raise NotFoundError(f"{rest} does not exist: give the file of the {kind} detector")
    elif not (
        text == "motion"
        or (kind == "torchvision" and rest)
        or (text.endswith(_GRAPHS) and Path(text).is_file())
        or registry.find(text, DETECTION) is not None
    ):
        raise InputError(f"unknown detector {text!r}: use {KINDS}")


def _kind_of(graph: Path) -> str:
    """``ssd`` for one output of rows of seven, else ``yolox``, which checks the rest itself."""
    from reid_dhm.inference.engines.openvino_runtime import read_graph

    outputs = read_graph(graph).outputs
    shape = outputs[0].partial_shape
    rows_of_seven = len(shape) == 4 and shape[3].is_static and shape[3].get_length() == 7
    return "ssd" if len(outputs) == 1 and rows_of_seven else "yolox"
