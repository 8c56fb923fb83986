"""From tracked boxes to tracklets: what a track collects, and when it ends.

Crops are chosen in :mod:`reid_dhm.gallery.track.crops`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import supervision as sv
from numpy.typing import NDArray

from reid_dhm.gallery.records import DETECTION, Crop, Embed, NewTracklet
from reid_dhm.gallery.track.crops import BestCrops, decode_jpeg, geometric_quality
from reid_dhm.gallery.track.settings import TrackSettings
from reid_dhm.gallery.track.tracking import NoTracker, Tracker, to_records

_LIKENESS = 4  # exponent; measured in docs/results/gallery_vtest.md


@dataclass(slots=True)
class Track:
    """A track, open or ended.

    Attributes:
        number: in the video, from 1.
        boxes: (1,) :data:`~reid_dhm.gallery.records.DETECTION` for every frame so far.
        best: its best crops.
    """

    number: int
    boxes: list[NDArray[np.void]]
    best: BestCrops

    @property
    def seconds(self) -> float:
        """Seconds from its first box to its last."""
        return float(self.boxes[-1]["time"][0] - self.boxes[0]["time"][0])


class TrackletBuilder:
    """Tracks the people of one video; :meth:`see` every frame, in order, then :meth:`end`.

    The same boxes give the same tracks with the same numbers, with or without pixels.

    Args:
        settings: how boxes become tracks.
        frame_rate: frames per second that it will see.
    """

    def __init__(self, settings: TrackSettings, frame_rate: float) -> None:
        self._settings = settings = settings.for_rate(frame_rate)
        self._tracker: Tracker | NoTracker = (
            NoTracker(settings.least_score)
            if settings.tracker == "none"
            else Tracker(settings.tracker, frame_rate, settings.least_score, settings.track_overlap)
        )
        self._open: dict[int, Track] = {}  # by the tracker's number
        self._count = 0
        self.changed: set[int] = set()
        """Numbers of the tracks whose crops are newer than in the store; emptied by the caller."""

    @property
    def open(self) -> dict[int, Track]:
        """Open tracks, by number."""
        return {track.number: track for track in self._open.values()}

    def see(
        self, frame: int, time: float, detections: sv.Detections, image: NDArray[np.uint8] | None
    ) -> list[Track]:
        """Process the next frame.

        Args:
            frame, time: its number, and its time in seconds.
            detections: the people in it.
            image: its pixels, BGR; None for a frame whose crops are stored.

        Returns:
            The tracks that ended, in the order of their numbers.
        """
        numbers = self._tracker.update(time, detections)
        done = []
        own = numbers[numbers >= 0].tolist()
        records = to_records(frame, time, detections)[numbers >= 0]
        for row, number in enumerate(own):
            track = self._open.get(number)
            if track is not None and track.seconds >= self._settings.max_seconds:
                done.append(self._open.pop(number))
                track = None
            if track is None:
                self._count += 1
                best = BestCrops(self._settings.crops, self._settings.crops_apart)
                track = self._open[number] = Track(self._count, [], best)
            track.boxes.append(records[row : row + 1])
        if image is not None and own:
            self._offer(own, records, image)
        gone = self._open.keys() - self._tracker.alive()
        done += [self._open.pop(own) for own in gone]
        return sorted(done, key=lambda track: track.number)

    def end(self) -> list[Track]:
        """The tracks that are open when the video ends, in the order of their numbers."""
        done = sorted(self._open.values(), key=lambda track: track.number)
        self._open.clear()
        return done

    def restore(self, pending: Mapping[int, list[Crop]], done: Sequence[Track]) -> None:
        """Give open tracks and those in ``done`` the crops that were stored before a restart."""
        for track in (*self._open.values(), *done):
            track.best = BestCrops(
                self._settings.crops, self._settings.crops_apart, pending.get(track.number)
            )

    def _offer(self, own: Sequence[int], boxes: NDArray[np.void], image: NDArray[np.uint8]) -> None:
        height, width = image.shape[:2]
        limits = geometric_quality(boxes["box"], boxes["score"], (height, width))
        for number, box, limit in zip(own, boxes, limits.tolist(), strict=True):
            track = self._open[number]
            x1, y1, x2, y2 = box["box"].tolist()
            place = int(box["frame"]), float(box["time"]), (x1, y1, x2, y2)
            if track.best.offer(*place, limit, image):
                self.changed.add(track.number)


def worth_keeping(track: Track, settings: TrackSettings) -> bool:
    """Whether an ended track becomes a tracklet: it is long enough and has a crop."""
    return len(track.boxes) >= settings.min_boxes and bool(track.best.crops)


def embed_tracks(tracks: Sequence[Track], embed: Embed) -> list[NewTracklet]:
    """Tracklets of ended tracks; all crops are embedded at once, from the stored JPEGs."""
    crops = [track.best.crops for track in tracks]
    rows = embed([decode_jpeg(crop.jpeg) for kept in crops for crop in kept])
    ends = np.cumsum([len(kept) for kept in crops])
    tracklets = []
    for track, kept, embeddings in zip(tracks, crops, np.split(rows, ends[:-1]), strict=True):
        order, mean = rank_crops(kept, embeddings)
        embedded = [replace(kept[i], embedding=embeddings[i].astype(np.float16)) for i in order]
        boxes = np.concatenate(track.boxes).astype(DETECTION)
        tracklets.append(NewTracklet(track.number, boxes, embedded, mean))
    return tracklets


def rank_crops(
    crops: Sequence[Crop], rows: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float16]]:
    """The order of a tracklet's crops by quality and likeness to their mean, and that mean.

    Args:
        crops: K crops, in any order.
        rows: (K, D) unit rows, their embeddings.

    Returns:
        order: (K,) the numbers of the crops, best first; equals by time.
        mean: (D,) the unit vector along the mean of the rows.
    """
    mean = rows.astype(np.float64).mean(axis=0)
    mean /= max(float(np.linalg.norm(mean)), np.finfo(np.float32).tiny)
    # A box around two people is large and sharp, but unlike the person's other crops.
    likeness = np.maximum(rows @ mean, 0)
    shown = np.array([crop.quality for crop in crops]) * likeness**_LIKENESS
    times = np.array([crop.time for crop in crops])
    return np.lexsort((times, -shown)), mean.astype(np.float16)
