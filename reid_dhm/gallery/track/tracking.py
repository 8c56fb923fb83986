"""Joins the boxes of one person from frame to frame, by a tracker of the ``trackers`` library.

Tracking is deterministic: the same frames and boxes give the same tracks, so showing a new tracker
what another one saw restores its state.
"""

from __future__ import annotations

import math
from collections import deque
from importlib import metadata
from statistics import median
from typing import Any

import numpy as np
import supervision as sv
from numpy.typing import NDArray

from reid_dhm.errors import InputError
from reid_dhm.gallery.records import DETECTION

MIN_RATE = 3.0
"""Frames per second below which a walking person's boxes no longer overlap between frames."""

_VERSION = 2  # of this module: increased when the same boxes may give other tracks
_LOST_SECONDS = 0.5  # how long a person may be hidden; longer values cause identity switches
_LOST_FRAMES = 2.5  # the same as a number of frames, for low frame rates
_RECENT = 15  # gaps between frames from which the actual frame rate is estimated


def tracker_version() -> str:
    """What determines the tracks of the same boxes besides the settings."""
    return f"{_VERSION} with trackers {metadata.version('trackers')}"


class NoTracker:
    """Every box is a track of its own, of those with a score of ``activation`` or more."""

    def __init__(self, activation: float) -> None:
        self._activation, self._count = activation, 0

    def update(self, time: float, detections: sv.Detections) -> NDArray[np.int64]:
        """As :meth:`Tracker.update`."""
        wanted = scores(detections) >= self._activation
        numbers = np.where(wanted, self._count + np.cumsum(wanted) - 1, -1)
        self._count += int(wanted.sum())
        return numbers

    def alive(self) -> set[int]:
        """Nobody continues."""
        return set()


class Tracker:
    """The tracker of one video.

    Args:
        name: ``bytetrack`` (Zhang et al. 2022) also continues tracks with boxes of low score;
            ``sort`` (Bewley et al. 2016) treats all boxes alike.
        frame_rate: frames per second that it will see; where fewer arrive, as from a live stream
            with a slow detector, it keeps hidden people for longer.
        activation: lowest score of a box that begins a track.
        overlap: least intersection over union of a box and the predicted box of its track.

    Raises:
        InputError: an unknown name.
    """

    def __init__(self, name: str, frame_rate: float, activation: float, overlap: float) -> None:
        # Importing them takes seconds.
        from trackers import ByteTrackTracker, SORTTracker

        common: dict[str, Any] = {
            "frame_rate": frame_rate,
            "lost_track_buffer": math.ceil(30 * _LOST_SECONDS),  # counted at 30 frames per second
            "track_activation_threshold": activation,
            "minimum_consecutive_frames": 2,
            "minimum_iou_threshold": overlap,
        }
        if name == "bytetrack":
            self._tracker: Any = ByteTrackTracker(**common, high_conf_det_threshold=activation)
        elif name == "sort":
            self._tracker = SORTTracker(**common)
        else:
            raise InputError(f"unknown tracker {name!r}: use bytetrack or sort")
        self._gaps = deque([1 / frame_rate], _RECENT)
        self._last: float | None = None

    def update(self, time: float, detections: sv.Detections) -> NDArray[np.int64]:
        """Process the next frame.

        Args:
            time: of the frame in seconds, later than the last one's.
            detections: N people in the frame.

        Returns:
            (N,) track number of each box, -1 for boxes without a track (yet).
        """
        if self._last is not None:
            self._gaps.append(time - self._last)
        self._last = time
        # Tracks that were not seen for this long end before boxes are assigned.
        lost = max(_LOST_SECONDS, _LOST_FRAMES * median(self._gaps))
        self._tracker.maximum_time_without_update = lost
        tracked = self._tracker.update(
            sv.Detections(
                xyxy=detections.xyxy.astype(np.float64),
                confidence=scores(detections).astype(np.float64),
                data={"row": np.arange(len(detections))},
            ),
            timestamp=time,
        )
        numbers = np.full(len(detections), -1, np.int64)
        if len(tracked):
            numbers[tracked.data["row"]] = tracked.tracker_id
        return numbers

    def alive(self) -> set[int]:
        """Numbers of the tracks that may continue."""
        return {int(track.tracker_id) for track in self._tracker.tracks}


def scores(detections: sv.Detections) -> NDArray[np.float32]:
    """(N,) scores of detections; 1 where the detector gives none."""
    if detections.confidence is None:
        return np.ones(len(detections), np.float32)
    return detections.confidence.astype(np.float32)


def to_records(frame: int, time: float, detections: sv.Detections) -> NDArray[np.void]:
    """(N,) :data:`~reid_dhm.gallery.records.DETECTION` of the N people in a frame."""
    records = np.zeros(len(detections), DETECTION)
    records["frame"], records["time"] = frame, time
    records["box"], records["score"] = detections.xyxy, scores(detections)
    return records


def from_records(records: NDArray[np.void]) -> sv.Detections:
    """The detections of one frame from the store."""
    return sv.Detections(records["box"].reshape(-1, 4), confidence=records["score"])
