"""How well detectors find the people of a clip whose people are known, and how fast.

For every lowest score: recall and precision of the boxes at an IoU of 0.5 by supervision's metrics,
and what the tracker makes of them, by :mod:`reid_dhm.benchmarks.footage.tracking`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import cast

import numpy as np
import supervision as sv

from reid_dhm.benchmarks.footage.pairs import Boxes
from reid_dhm.benchmarks.footage.tracking import compare
from reid_dhm.errors import InputError
from reid_dhm.gallery.detect.protocol import Detector
from reid_dhm.gallery.footage.frames import Frame, Source, Span
from reid_dhm.gallery.ingest.ingest import Report
from reid_dhm.gallery.track.settings import TrackSettings
from reid_dhm.gallery.track.tracking import Tracker, scores

LOWEST = 0.05
"""Score from which boxes are collected."""

_BLOCK = 64  # frames that all detectors see before the next ones are decoded


@dataclass(frozen=True, eq=False)
class Found:
    """What a detector found in a clip.

    Attributes:
        frames: the people of each frame, in order.
        times: of the frames in seconds.
        rate: frames per second on all cores, decoding excluded.
        certain: score from which the detector's boxes begin a track by default.
    """

    frames: list[sv.Detections]
    times: list[float]
    rate: float
    certain: float | None


@dataclass(frozen=True, slots=True)
class DetectionFigures:
    """A detector at one lowest score.

    Attributes:
        score: lowest score.
        recall, precision: of boxes, at an IoU of 0.5.
        idf1, switches: of the tracks that the package's tracker makes of these boxes.
    """

    score: float
    recall: float
    precision: float
    idf1: float
    switches: int

    @property
    def f1(self) -> float:
        """Harmonic mean of recall and precision."""
        both = self.recall + self.precision
        return 2 * self.recall * self.precision / both if both else 0.0


def detect_clip(
    detectors: Sequence[Detector], source: Source, report: Report | None = None
) -> list[Found]:
    """Run detectors over the same decoded frames, by turns, on as many threads as cores.

    Args:
        detectors: at least one.
        source: the clip.
        report: called with the frames done and the total.

    Raises:
        InputError: a detector that needs all frames in order, or a clip without frames.
    """
    if any(detector.stateful for detector in detectors):
        raise InputError("motion has no scores to compare: give networks")
    found: list[list[sv.Detections]] = [[] for _ in detectors]
    seconds = [0.0] * len(detectors)
    times: list[float] = []
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for frames in _blocks(source):
            times += [frame.time for frame in frames]
            for number, detector in enumerate(detectors):
                start = time.perf_counter()
                found[number] += pool.map(detector.detect, frames)
                seconds[number] += time.perf_counter() - start
            if report is not None:
                report(len(times), source.info.num_frames or 0)
    if not times:
        raise InputError(f"{source.info.name} has no frames")
    return [
        Found(people, times, len(times) / taken, getattr(detector, "certain", None))
        for detector, people, taken in zip(detectors, found, seconds, strict=True)
    ]


def figures_at(score: float, found: Found, truth: Boxes) -> DetectionFigures:
    """The figures of what a detector found with at least a score.

    Args:
        score: lowest score.
        found: with lower scores too.
        truth: the true people.
    """
    from supervision.metrics import Precision, Recall

    kept = [cast("sv.Detections", one[scores(one) >= score]) for one in found.frames]
    true = [_people(truth, number) for number in range(len(kept))]
    precision = Precision().update(kept, true).compute().precision_at_50
    recall = Recall().update(kept, true).compute().recall_at_50
    tracks = compare(_tracked(kept, found), truth)
    return DetectionFigures(score, float(recall), float(precision), tracks.idf1, tracks.switches)


def _blocks(source: Source) -> Iterator[list[Frame]]:
    frames: list[Frame] = []
    for frame in source.frames(Span()):
        if frame is None:  # a stream that waits
            continue
        frames.append(frame)
        if len(frames) == _BLOCK:
            yield frames
            frames = []
    if frames:
        yield frames


def _people(boxes: Boxes, frame: int) -> sv.Detections:
    corners = boxes.corners[boxes.frames == frame]
    return sv.Detections(xyxy=corners, class_id=np.zeros(len(corners), int))


def _tracked(frames: Sequence[sv.Detections], found: Found) -> Boxes:
    """The tracks that the package's tracker makes by default."""
    settings, times = TrackSettings("bytetrack", found.certain), found.times
    rate = 1 / float(np.median(np.diff(times))) if len(times) > 1 else 1.0
    tracker = Tracker(settings.tracker, rate, settings.least_score, settings.track_overlap)
    rows: dict[int, list[tuple[int, int, list[float]]]] = {}
    for number, (people, moment) in enumerate(zip(frames, times, strict=True)):
        for track, box in zip(
            tracker.update(moment, people).tolist(), people.xyxy.tolist(), strict=True
        ):
            rows.setdefault(track, []).append((number, track, box))
    rows.pop(-1, None)
    kept = [row for track in rows.values() if len(track) >= settings.min_boxes for row in track]
    numbers, tracks, corners = zip(*kept, strict=True) if kept else ((), (), ())
    return Boxes(
        np.array(numbers, np.int64),
        np.array(tracks, np.int64),
        np.array(corners, np.float64).reshape(-1, 4),
    )
