"""Detectors by name."""

from __future__ import annotations

from pathlib import Path

from reid_dhm.errors import InputError
from reid_dhm.gallery.detect.protocol import Detector
from reid_dhm.inference.zoo import registry
from reid_dhm.inference.zoo.entries import DETECTION

KINDS = (
    "a name of `reid-dhm models`, yolox:FILE, torchvision:NAME, torchvision:NAME:WEIGHTS, mot:FILE "
    "or motion"
)


def build_detector(text: str = "motion", confidence: float | None = None) -> Detector:
    """Make the detector that a user names.

    Args:
        text: ``yolox:FILE`` (ONNX), ``torchvision:NAME`` with weights from torchvision, or from a
            file as ``torchvision:NAME:WEIGHTS``, ``mot:FILE`` (MOTChallenge's ``det.txt``), or
            ``motion`` (what moves before a fixed camera; needs no weights).
        confidence: the lowest score of a box that is kept; each kind's own by default.

    Raises:
        InputError: an unknown kind, a file that is not there or is no detector, or a confidence
            outside 0 … 1 or for ``motion``, which has none.
    """
    if confidence is not None and not 0 <= confidence < 1:
        raise InputError(f"confidence is {confidence}: give 0 or more, below 1")
    named = registry.find(text, DETECTION)
    if named is not None:
        text = f"yolox:{named.path}"
    kind, _, rest = text.partition(":")
    options = {} if confidence is None else {"confidence": confidence}
    if kind == "yolox" and rest:
        from reid_dhm.gallery.detect.yolox import YoloxDetector

        return YoloxDetector(Path(rest), **options)
    if kind == "torchvision" and rest:
        from reid_dhm.gallery.detect.torchvision import TorchvisionDetector

        name, _, weights = rest.partition(":")
        return TorchvisionDetector(name, Path(weights) if weights else None, **options)
    if kind == "mot" and rest:
        from reid_dhm.gallery.detect.mot import MotDetections

        return MotDetections(Path(rest), **options)
    if text == "motion" and confidence is not None:
        raise InputError("motion has no scores: drop the confidence, or name another detector")
    if text == "motion":
        from reid_dhm.gallery.detect.motion import MotionDetector

        return MotionDetector()
    raise InputError(f"detector {text!r} is unknown: use {KINDS}")
