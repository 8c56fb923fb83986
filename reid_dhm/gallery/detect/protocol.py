"""The interface of a detector, and detections from boxes and scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from reid_dhm.gallery.footage.frames import Frame

if TYPE_CHECKING:
    import supervision as sv

Settings: TypeAlias = "Mapping[str, str | int | float]"


class Detector(Protocol):
    """Finds people.

    It may also have ``certain``, the score from which a box begins a track by default, and
    ``following``, see :func:`following`.

    Attributes:
        settings: everything that determines its detections, to compare two runs.
        stateful: whether detections depend on earlier frames, so that it must process every frame
            from the first, in order and in one thread; others may be called by several threads.
    """

    settings: Settings
    stateful: bool

    def detect(self, frame: Frame) -> sv.Detections:
        """People in a frame: N boxes in its pixels, inside it, with scores 0 to 1."""
        ...


def following(detector: Detector, earlier: Mapping[str, Any]) -> Detector:
    """The detector, with the defaults of the release that began to index a video.

    Args:
        detector: changed only if it has a method ``following``.
        earlier: settings of the video.
    """
    follow = getattr(detector, "following", None)
    return detector if follow is None else follow(earlier)


def to_detections(
    boxes: NDArray[np.floating], scores: NDArray[np.floating], size: tuple[int, int]
) -> sv.Detections:
    """Boxes and scores as detections, clipped to the frame, without boxes smaller than a pixel.

    Args:
        boxes: (N, 4) x1, y1, x2, y2.
        scores: (N,).
        size: height and width of the frame.
    """
    import supervision as sv

    height, width = size
    inside = np.clip(boxes, 0, [width, height, width, height]).astype(np.float32).reshape(-1, 4)
    kept = (inside[:, 2:] - inside[:, :2] >= 1).all(axis=1)
    return sv.Detections(
        xyxy=inside[kept],
        confidence=np.asarray(scores, np.float32)[kept],
        class_id=np.zeros(int(kept.sum()), int),
    )
