"""Detects people by background subtraction: needs a fixed camera, and no weights.

Anything that moves and has about the shape of a person counts; a person who stands still is lost.
"""

from __future__ import annotations

import cv2
import numpy as np
import supervision as sv
from numpy.typing import NDArray

from reid_dhm.gallery.detect.protocol import Settings, to_detections
from reid_dhm.gallery.footage.frames import Frame

_WORKING_WIDTH = 480  # pixels; reduces noise and work
_FOREGROUND = 255  # MOG2 marks shadows with 127
_MEMORY = 40.0  # seconds in which the background is learned
_BACKGROUND = 0.8  # share of that time; a standing person vanishes after the rest
_SMALLEST = 0.06  # of the frame's height
_LARGEST = 0.95
_SHAPES = (0.9, 6.0)  # height over width
_COVERED = 0.25  # least share of its box that a body covers


class MotionDetector:
    """Background subtraction by a mixture of Gaussians (Zivkovic 2004), then grouping of blobs.

    Vertically separated pieces of one body, such as legs and head, are joined. Every score is 1.
    See :class:`.Detector`.
    """

    stateful = True

    def __init__(self) -> None:
        self._background = cv2.createBackgroundSubtractorMOG2(varThreshold=20, detectShadows=True)
        self._background.setBackgroundRatio(_BACKGROUND)
        self._seen, self._last = 0, 0.0
        self.settings: Settings = {"detector": "motion"}

    def detect(self, frame: Frame) -> sv.Detections:
        """Moving regions of the shape of a person; none in the first frame."""
        height, width = frame.image.shape[:2]
        scale = min(1.0, _WORKING_WIDTH / width)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        small = cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA)
        # Fast at first, so that people in the first frame leave no ghost for long.
        share = max((frame.time - self._last) / _MEMORY, 0.5 / max(self._seen, 1))
        self._seen, self._last = self._seen + 1, frame.time
        smooth = cv2.GaussianBlur(small, (3, 3), 0)
        mask = np.asarray(self._background.apply(smooth, learningRate=min(share, 1.0)))
        boxes = _bodies((mask == _FOREGROUND).astype(np.uint8))
        scores = np.ones(len(boxes), np.float32)
        return to_detections(boxes / scale, scores, (height, width))


def _bodies(mask: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(N, 4) boxes of regions of the shape of a person in a mask of 0 and 1."""
    height = len(mask)
    mask = np.asarray(cv2.medianBlur(mask, 3), np.uint8)
    reach = max(3, height // 24) | 1
    joined = cv2.dilate(mask, np.ones((reach, 3), np.uint8))
    joined = cv2.erode(joined, np.ones((reach, 1), np.uint8))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(joined, connectivity=8)
    covered = np.bincount(labels.ravel(), mask.ravel(), minlength=len(stats))[1:]
    left, top, wide, tall = stats[1:, :4].T.astype(np.float64)  # 0 is the background
    shape = tall / wide
    wanted = (tall >= _SMALLEST * height) & (tall <= _LARGEST * height)
    wanted &= (shape >= _SHAPES[0]) & (shape <= _SHAPES[1])
    wanted &= covered >= _COVERED * wide * tall
    return np.stack([left, top, left + wide, top + tall], axis=1)[wanted]
