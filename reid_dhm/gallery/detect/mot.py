"""Reads MOTChallenge files: detections, tracklets and true tracks.

Frames and pixels count from 1 in a file, the image's upper left corner being 1, 1; they count from
0 in memory, as everywhere in the package.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import supervision as sv
from numpy.typing import NDArray

from reid_dhm.errors import InputError, NotFoundError
from reid_dhm.gallery.detect.protocol import Settings, to_detections
from reid_dhm.gallery.footage.frames import Frame
from reid_dhm.gallery.footage.hashing import content_hash

_MOST = 2**53  # frames and ids are read as floats

MOT_BOX = np.dtype([("frame", "<i8"), ("id", "<i8"), ("box", "<f8", (4,)), ("score", "<f8")])
"""A line: frame number from 0, id, box x1, y1, x2, y2 in pixels from 0, and score."""


def read_mot(path: Path) -> NDArray[np.void]:
    """(N,) :data:`MOT_BOX` of a file.

    Args:
        path: lines of ``frame, id, left, top, width, height, score, …``, separated by commas or
            spaces; scores 0 to 1, of which -1 or none counts as 1.

    Raises:
        InputError: no such file, or another line.
    """
    if not path.exists():
        raise NotFoundError(f"{path} does not exist: give a MOTChallenge file, as det.txt")
    if not path.is_file():
        raise InputError(f"{path} is no file: give a MOTChallenge file, as det.txt")
    rows = [
        _read(line, f"{path}:{number}")
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if line.strip()
    ]
    return np.array(rows, MOT_BOX)


class MotDetections:
    """Boxes from a file; see :class:`.Detector`.

    Args:
        path: as :func:`read_mot` takes it; ids are not used.
        confidence: lowest score.

    Raises:
        InputError: as :func:`read_mot`.
    """

    stateful = False

    def __init__(self, path: Path, confidence: float = 0.0) -> None:
        rows = read_mot(path)
        rows = rows[rows["score"] >= confidence]
        self._rows = rows[np.argsort(rows["frame"], kind="stable")]
        self.settings: Settings = {
            "detector": "mot",
            "detector file": content_hash([path]),
            "confidence": confidence,
        }

    def detect(self, frame: Frame) -> sv.Detections:
        """The boxes of a frame, by its number."""
        first, last = np.searchsorted(self._rows["frame"], [frame.number, frame.number + 1])
        height, width = frame.image.shape[:2]
        found = self._rows[first:last]
        return to_detections(found["box"], found["score"], (height, width))


def _read(line: str, where: str) -> tuple[int, int, list[float], float]:
    """A row of :data:`MOT_BOX`."""
    try:
        numbers = [float(part) for part in line.replace(",", " ").split()]
    except ValueError:
        numbers = []
    if (
        len(numbers) < 6
        or not np.isfinite(numbers).all()
        or not 1 <= numbers[0] < _MOST
        or abs(numbers[1]) >= _MOST
    ):
        raise InputError(
            f"{where} is {line[:60]!r}: give frame, id, left, top, width, height and score, frames "
            "from 1"
        )
    score = numbers[6] if len(numbers) > 6 and numbers[6] != -1 else 1.0
    if not 0 <= score <= 1:
        raise InputError(
            f"{where} has score {score:g}: scale scores to 0 … 1, or give -1 where there are none"
        )
    frame, id, left, top, width, height = numbers[:6]
    box = [left - 1, top - 1, left - 1 + width, top - 1 + height]
    return int(frame) - 1, int(id), box, score
