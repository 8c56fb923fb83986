"""Joining the boxes of one person from frame to frame, by a tracker of the ``trackers`` library.

The same frames and boxes give the same tracks, so a tracker is brought back to where it was by
showing it what it saw.
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

TRACKERS = ("bytetrack", "sort")
LEAST_RATE = 3.0
"""Frames a second below which people walk out of their own boxes from one to the next."""

_RELEASE = 2  # of this module: grows when the same boxes may give other tracks
_LOST_SECONDS = 0.5  # how long somebody may be hidden; longer, and people who meet are exchanged
_LOST_FRAMES = 2.5  # and at least so many frames, for those who look seldom
_RECENT = 15  # gaps between frames that tell how often is looked


def release() -> str:
    """What the same boxes are joined by, besides the settings: ours and the library's release."""
    return f"{_RELEASE} with trackers {metadata.version('trackers')}"


class Tracker:
    """One video's tracker.

    Args:
        name: one of :data:`TRACKERS`: ``bytetrack`` (Zhang et al. 2022) also goes on with faint
            boxes where a track is already; ``sort`` (Bewley et al. 2016) takes all alike.
        frame_rate: frames a second that it will see; where fewer come, because a live stream is
            looked at as fast as the detector is, it waits longer for who is hidden.
        activation: lowest score of a box that begins a track.
        overlap: least intersection over union of a box and where its track was expected.

    Raises:
        InputError: an unknown name.
    """

    def __init__(self, name: str, frame_rate: float, activation: float, overlap: float) -> None:
        # Importing them takes seconds.
        from trackers import ByteTrackTracker, SORTTracker

        common: dict[str, Any] = {
            "frame_rate": frame_rate,
            "lost_track_buffer": math.ceil(30 * _LOST_SECONDS),  # counted at 30 frames a second
            "track_activation_threshold": activation,
            "minimum_consecutive_frames": 2,
            "minimum_iou_threshold": overlap,
        }
        if name == "bytetrack":
            self._tracker: Any = ByteTrackTracker(**common, high_conf_det_threshold=activation)
        elif name == "sort":
            self._tracker = SORTTracker(**common)
        else:
            raise InputError(f"tracker {name!r} is unknown: use {' or '.join(TRACKERS)}")
        self._gaps = deque([1 / frame_rate], _RECENT)
        self._last: float | None = None

    def update(self, time: float, detections: NDArray[np.void]) -> NDArray[np.int64]:
        """Show it the next frame.

        Args:
            time: of the frame, later than the last one's.
            detections: (N,) :data:`~reid_dhm.gallery.records.DETECTION` of the frame.

        Returns:
            (N,) number of each box's track, -1 where there is none (yet).
        """
        if self._last is not None:
            self._gaps.append(time - self._last)
        self._last = time
        # Whoever was not seen for so long is forgotten before boxes are joined.
        lost = max(_LOST_SECONDS, _LOST_FRAMES * median(self._gaps))
        self._tracker.maximum_time_without_update = lost
        tracked = self._tracker.update(
            sv.Detections(
                xyxy=detections["box"].astype(np.float64).reshape(-1, 4),
                confidence=detections["score"].astype(np.float64),
                data={"row": np.arange(len(detections))},
            ),
            timestamp=time,
        )
        numbers = np.full(len(detections), -1, np.int64)
        if len(tracked):
            numbers[tracked.data["row"]] = tracked.tracker_id
        return numbers

    def alive(self) -> set[int]:
        """Tracks that may still go on."""
        return {int(track.tracker_id) for track in self._tracker.tracks}


def as_records(frame: int, time: float, found: sv.Detections) -> NDArray[np.void]:
    """(N,) :data:`~reid_dhm.gallery.records.DETECTION` of what a detector found."""
    records = np.zeros(len(found), DETECTION)
    records["frame"], records["time"] = frame, time
    records["box"] = found.xyxy
    records["score"] = 1 if found.confidence is None else found.confidence
    return records
