"""Reads detections from a file: MOTChallenge's ``det.txt``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import supervision as sv

from reid_dhm.errors import InputError, NotFoundError
from reid_dhm.gallery.detect.protocol import Settings, to_detections
from reid_dhm.gallery.footage.frames import Frame
from reid_dhm.gallery.footage.hashing import content_hash


class MotDetections:
    """Boxes from a file; see :class:`.Detector`.

    Args:
        path: lines of ``frame, id, left, top, width, height, score, …``, frames from 1, pixels
            from 1 (MOTChallenge's convention), scores 0 to 1; -1 or no score counts as 1.
        confidence: lowest score.

    Raises:
        InputError: no such file, or another line.
    """

    stateful = False

    def __init__(self, path: Path, confidence: float = 0.0) -> None:
        if not path.is_file():
            raise NotFoundError(f"{path} does not exist: give MOTChallenge's det.txt")
        rows = [
            _read(line, f"{path}:{number}")
            for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
            if line.strip()
        ]
        table = np.array(rows, np.float64).reshape(-1, 6)
        table = table[table[:, 5] >= confidence]
        table = table[np.argsort(table[:, 0], kind="stable")]
        self._frames = table[:, 0].astype(np.int64) - 1
        self._scores = table[:, 5]
        corner = table[:, 1:3] - 1
        self._boxes = np.concatenate([corner, corner + table[:, 3:5]], axis=1)
        self.settings: Settings = {
            "detector": "mot",
            "detector file": content_hash([path]),
            "confidence": confidence,
        }

    def detect(self, frame: Frame) -> sv.Detections:
        """The boxes of a frame, by its number."""
        first, last = np.searchsorted(self._frames, [frame.number, frame.number + 1])
        height, width = frame.image.shape[:2]
        return to_detections(self._boxes[first:last], self._scores[first:last], (height, width))


def _read(line: str, where: str) -> list[float]:
    """Frame, left, top, width, height and score of a line."""
    try:
        numbers = [float(part) for part in line.replace(",", " ").split()]
    except ValueError:
        numbers = []
    if len(numbers) < 6 or not np.isfinite(numbers).all() or numbers[0] < 1:
        raise InputError(
            f"{where} is {line[:60]!r}: give frame, id, left, top, width, height and score, frames "
            "from 1"
        )
    score = numbers[6] if len(numbers) > 6 and numbers[6] != -1 else 1.0
    if not 0 <= score <= 1:
        raise InputError(
            f"{where} has score {score:g}: scale scores to 0 … 1, or give -1 where there are none"
        )
    return [numbers[0], *numbers[2:6], score]
