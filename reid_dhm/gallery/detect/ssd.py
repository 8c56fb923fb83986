"""Detects people by an SSD with a ``DetectionOutput`` layer, as Open Model Zoo publishes them."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import supervision as sv

from reid_dhm.errors import InputError
from reid_dhm.gallery.detect.onnx_file import open_onnx
from reid_dhm.gallery.detect.protocol import Settings, to_detections
from reid_dhm.gallery.footage.frames import Frame
from reid_dhm.gallery.footage.hashing import content_hash

_PERSON = 1  # 0 is the background
_FIELDS = 7  # image, class, score, x1, y1, x2, y2


class SsdDetector:
    """A person detector whose graph suppresses overlapping boxes itself; see :class:`.Detector`.

    Args:
        path: ``.xml`` (with its ``.bin``) or ``.onnx``: one image in (1, 3, H, W), BGR in 0 to 255,
            stretched to its size; (1, 1, N, 7) out: image, class, score and corners 0 to 1.
            Person is class 1.
        confidence: lowest score.

    Raises:
        InputError: the file is not such a network.
    """

    stateful = False

    def __init__(self, path: Path, confidence: float = 0.3) -> None:
        self._network = open_onnx(path, threads=os.cpu_count() or 1)
        shape = self._network.input_shape
        if len(shape) != 4 or shape[1] != 3 or shape[2] is None or shape[3] is None:
            raise InputError(
                f"{path} takes {shape} instead of (1, 3, height, width): it is not an SSD detector"
            )
        self._size = shape[2], shape[3]
        self._confidence = confidence
        self.engine = self._network.engine
        output = self._network.run(np.zeros((1, 3, *self._size), np.float32))
        if output.ndim != 4 or output.shape[:2] != (1, 1) or output.shape[3] != _FIELDS:
            raise InputError(
                f"{path} gives {output.shape} instead of (1, 1, N, {_FIELDS}): it is not an "
                "SSD detector"
            )
        beside = path.with_suffix(".bin")
        self.settings: Settings = {
            "detector": "ssd",
            "detector weights": content_hash([path, beside] if beside.is_file() else [path]),
            "confidence": confidence,
        }

    def detect(self, frame: Frame) -> sv.Detections:
        """People in a frame."""
        height, width = frame.image.shape[:2]
        stretched = cv2.resize(frame.image, self._size[::-1], interpolation=cv2.INTER_LINEAR)
        image = np.ascontiguousarray(stretched.transpose(2, 0, 1)[None], np.float32)
        rows = self._network.run(image)[0, 0]
        # A row with a negative image number ends the list; what follows is not set.
        ends = np.flatnonzero(rows[:, 0] < 0)
        rows = rows[: ends[0]] if len(ends) else rows
        wanted = rows[(rows[:, 1] == _PERSON) & (rows[:, 2] >= self._confidence)]
        boxes = wanted[:, 3:] * np.array([width, height, width, height], np.float32)
        return to_detections(boxes, wanted[:, 2], (height, width))
