"""Detectors by name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from reid_dhm.errors import InputError, NotFoundError
from reid_dhm.inference.zoo import registry
from reid_dhm.inference.zoo.entries import DETECTION, MODELS

if TYPE_CHECKING:
    from reid_dhm.gallery.detect.protocol import Detector

# Those of families.FAMILIES, which takes NumPy, SciPy and OpenCV to import.
FAMILY_NAMES = ("ssd", "rfdetr", "rtdetr", "yolo", "yolox")
KINDS = (
    "a name of `reid-dhm models`, an .onnx or .xml file, FAMILY:FILE with FAMILY one of "
    f"{', '.join(FAMILY_NAMES)}, torchvision:NAME, torchvision:NAME:WEIGHTS, mot:FILE or motion"
)
_GRAPHS = (".onnx", ".xml")
_TRIAL = "reid_dhm.gallery.detect.trial_process"


def build_detector(text: str = "motion", confidence: float | None = None) -> Detector:
    """Build the detector that a user names.

    Args:
        text: a name of the model zoo, or a network's file, whose outputs tell its family;
            ``FAMILY:FILE`` with one of :data:`FAMILY_NAMES`; ``torchvision:NAME`` with weights from
            torchvision, or from a file as ``torchvision:NAME:WEIGHTS``; ``mot:FILE``
            (MOTChallenge's ``det.txt``); or ``motion`` (anything that moves before a fixed camera;
            needs no weights).
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
    kind, _, rest = text.partition(":")
    options = {} if confidence is None else {"confidence": confidence}
    if kind in FAMILY_NAMES or _is_graph(text):
        from reid_dhm.gallery.detect.network import NetworkDetector
        from reid_dhm.inference.trial import try_graph

        family = kind if kind in FAMILY_NAMES else None
        path = Path(rest if family else text)
        try_graph(path, _TRIAL, family=family)
        return NetworkDetector(path, family, confidence)
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
    if kind in (*FAMILY_NAMES, "mot") and rest:
        if not Path(rest).is_file():
            raise NotFoundError(f"{rest} does not exist: give the file of the {kind} detector")
    elif not (
        text == "motion"
        or (kind == "torchvision" and rest)
        or _is_graph(text)
        or registry.find(text, DETECTION) is not None
    ):
        raise InputError(f"unknown detector {text!r}: use {KINDS}")


def local_detector() -> str | None:
    """Name of the first detector of the model zoo that is on this machine; None without one."""
    added = [model.name for model in registry.added() if model.task == DETECTION]
    here = [m.name for m in MODELS if m.task == DETECTION and registry.is_here(m)]
    return next(iter(added + here), None)


def _is_graph(text: str) -> bool:
    return text.endswith(_GRAPHS) and Path(text).is_file()
