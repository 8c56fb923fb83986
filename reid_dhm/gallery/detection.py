"""Finding people in frames: what a detector is, and which there are by name.

Joining the boxes of one person over time is :mod:`reid_dhm.gallery.tracking`'s work.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np
import supervision as sv
from numpy.typing import NDArray

from reid_dhm.errors import InputError
from reid_dhm.gallery.frames import Frame

Settings: TypeAlias = "Mapping[str, str | int | float]"

KINDS = "yolox:FILE, torchvision:NAME, torchvision:NAME:WEIGHTS, mot:FILE or motion"


class Detector(Protocol):
    """Finds people.

    Attributes:
        settings: all that decides what it finds, for comparing two runs.
        remembers: whether what it finds depends on the frames before, so that it must see every
            frame from the first, in order and by one thread; others serve several threads.
    """

    settings: Settings
    remembers: bool

    def detect(self, frame: Frame) -> sv.Detections:
        """People in a frame: N boxes in its pixels, inside it, with scores in 0 … 1."""
        ...


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
    kind, _, rest = text.partition(":")
    options = {} if confidence is None else {"confidence": confidence}
    if kind == "yolox" and rest:
        from reid_dhm.gallery.yolox import YoloxDetector

        return YoloxDetector(Path(rest), **options)
    if kind == "torchvision" and rest:
        from reid_dhm.gallery.torchvision import TorchvisionDetector

        name, _, weights = rest.partition(":")
        return TorchvisionDetector(name, Path(weights) if weights else None, **options)
    if kind == "mot" and rest:
        from reid_dhm.gallery.mot import MotDetections

        return MotDetections(Path(rest), **options)
    if text == "motion" and confidence is not None:
        raise InputError("motion has no scores: drop the confidence, or name another detector")
    if text == "motion":
        from reid_dhm.gallery.motion import MotionDetector

        return MotionDetector()
    raise InputError(f"detector {text!r} is unknown: use {KINDS}")


def people(
    boxes: NDArray[np.floating], scores: NDArray[np.floating], size: tuple[int, int]
) -> sv.Detections:
    """Boxes and scores as detections, cut to the frame; what has no pixel in it is left out.

    Args:
        boxes: (N, 4) x1, y1, x2, y2.
        scores: (N,).
        size: height and width of the frame.
    """
    height, width = size
    inside = np.clip(boxes, 0, [width, height, width, height]).astype(np.float32).reshape(-1, 4)
    kept = (inside[:, 2:] - inside[:, :2] >= 1).all(axis=1)
    return sv.Detections(
        xyxy=inside[kept],
        confidence=np.asarray(scores, np.float32)[kept],
        class_id=np.zeros(int(kept.sum()), int),
    )
