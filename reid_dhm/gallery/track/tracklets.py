"""From tracked boxes to tracklets: what a track collects while it goes on, and when it is done.

Which crops are worth keeping is decided in :mod:`reid_dhm.gallery.track.crops`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reid_dhm.errors import InputError
from reid_dhm.gallery.records import DETECTION, Crop, Embed, NewTracklet
from reid_dhm.gallery.track.crops import BestCrops, decode, geometric_quality
from reid_dhm.gallery.track.tracking import TRACKERS, Tracker

_LIKENESS = 4  # power; docs/results/gallery_vtest.md has what it brings


@dataclass(frozen=True, slots=True)
class TrackSettings:
    """How boxes become tracklets.

    Attributes:
        tracker: one of :data:`~reid_dhm.gallery.track.tracking.TRACKERS`.
        activation: lowest score of a box that begins a track.
        track_overlap: least intersection over union of a box and where its track was expected. A
            high one parts tracks where people meet, which search mends, instead of mixing them,
            which nothing does.
        min_boxes: tracks with fewer boxes are dropped.
        max_seconds: a longer track goes on as a new one, so that who stays is found too.
        crops: how many images a tracklet keeps.
        crops_apart: seconds between them at least.
    """

    tracker: str = "bytetrack"
    activation: float = 0.5
    track_overlap: float = 0.5
    min_boxes: int = 3
    max_seconds: float = 300.0
    crops: int = 4
    crops_apart: float = 0.5

    def __post_init__(self) -> None:
        if self.tracker not in TRACKERS:
            raise InputError(f"tracker {self.tracker!r} is unknown: use {' or '.join(TRACKERS)}")
        for name in ("min_boxes", "crops"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}: use 1 or more")

    def as_dict(self) -> dict[str, Any]:
        """For the store; :meth:`from_dict` reads it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> TrackSettings:
        """From a video's settings, where they stand among others."""
        return cls(**{name: settings[name] for name in cls.__dataclass_fields__})


@dataclass(slots=True)
class Track:
    """A track while it goes on, and when it is done.

    Attributes:
        number: in the video, from 1.
        boxes: so far, one array for every frame.
        best: its crops.
    """

    number: int
    boxes: list[NDArray[np.void]]
    best: BestCrops

    @property
    def seconds(self) -> float:
        """From its first box to its last."""
        return float(self.boxes[-1]["time"][0] - self.boxes[0]["time"][0])


class TrackletBuilder:
    """Follows the people of one video; :meth:`see` every frame, in order, then :meth:`end`.

    The same frames give the same tracks with the same numbers, whether their pixels are shown or,
    after a restart, only their boxes.

    Args:
        settings: how.
        frame_rate: frames a second that it will see.
    """

    def __init__(self, settings: TrackSettings, frame_rate: float) -> None:
        self._settings = settings
        self._tracker = Tracker(
            settings.tracker, frame_rate, settings.activation, settings.track_overlap
        )
        self._open: dict[int, Track] = {}  # by the tracker's own number
        self._count = 0
        self.changed: set[int] = set()
        """Numbers of tracks whose crops changed; whoever stores them empties it."""

    @property
    def open(self) -> dict[int, Track]:
        """Tracks that go on, by number."""
        return {track.number: track for track in self._open.values()}

    def see(
        self, time: float, detections: NDArray[np.void], image: NDArray[np.uint8] | None
    ) -> list[Track]:
        """Take the next frame.

        Args:
            time: of the frame.
            detections: (N,) :data:`~reid_dhm.gallery.records.DETECTION` in it.
            image: its pixels, BGR; None for a frame whose crops were kept before.

        Returns:
            The tracks that are done now, in the order of their numbers.
        """
        numbers = self._tracker.update(time, detections)
        done = []
        tracked = np.flatnonzero(numbers >= 0)
        for row in tracked:
            own = int(numbers[row])
            track = self._open.get(own)
            if track is not None and track.seconds >= self._settings.max_seconds:
                done.append(self._open.pop(own))
                track = None
            if track is None:
                self._count += 1
                best = BestCrops(self._settings.crops, self._settings.crops_apart)
                track = self._open[own] = Track(self._count, [], best)
            track.boxes.append(detections[row : row + 1])
        if image is not None and len(tracked):
            self._offer(numbers[tracked], detections[tracked], image)
        gone = self._open.keys() - self._tracker.alive()
        done += [self._open.pop(own) for own in gone]
        return sorted(done, key=lambda track: track.number)

    def end(self) -> list[Track]:
        """The tracks that were going on when the video ended, in the order of their numbers."""
        done = sorted(self._open.values(), key=lambda track: track.number)
        self._open.clear()
        return done

    def restore(self, pending: Mapping[int, list[Crop]], done: Sequence[Track]) -> None:
        """Give the tracks that go on, and those ``done``, the crops kept before a restart."""
        for track in (*self._open.values(), *done):
            track.best = BestCrops(
                self._settings.crops, self._settings.crops_apart, pending.get(track.number)
            )

    def _offer(
        self, numbers: NDArray[np.int64], boxes: NDArray[np.void], image: NDArray[np.uint8]
    ) -> None:
        height, width = image.shape[:2]
        limits = geometric_quality(boxes["box"], boxes["score"], (height, width))
        for own, box, limit in zip(numbers.tolist(), boxes, limits.tolist(), strict=True):
            track = self._open[own]
            x1, y1, x2, y2 = box["box"].tolist()
            place = int(box["frame"]), float(box["time"]), (x1, y1, x2, y2)
            if track.best.offer(*place, limit, image):
                self.changed.add(track.number)


def worth_keeping(track: Track, settings: TrackSettings) -> bool:
    """Whether a track that is done becomes a tracklet: long enough, and with an image."""
    return len(track.boxes) >= settings.min_boxes and bool(track.best.crops)


def embed_tracks(tracks: Sequence[Track], embed: Embed) -> list[NewTracklet]:
    """Embed the crops of all tracks in one go; pixels are those of the kept JPEGs."""
    crops = [track.best.crops for track in tracks]
    rows = embed([decode(crop.jpeg) for kept in crops for crop in kept])
    ends = np.cumsum([len(kept) for kept in crops])
    return [
        _tracklet(track, kept, embeddings)
        for track, kept, embeddings in zip(tracks, crops, np.split(rows, ends[:-1]), strict=True)
    ]


def _tracklet(track: Track, crops: list[Crop], rows: NDArray[np.float32]) -> NewTracklet:
    mean = rows.astype(np.float64).mean(axis=0)
    mean /= max(float(np.linalg.norm(mean)), np.finfo(np.float32).tiny)
    # One box around two people is large and sharp, but not like the person's other images.
    likeness = np.maximum(rows @ mean, 0)
    shown = np.array([crop.quality for crop in crops]) * likeness**_LIKENESS
    embedded = [
        replace(crops[i], embedding=rows[i].astype(np.float16))
        for i in np.argsort(-shown, kind="stable")
    ]
    boxes = np.concatenate(track.boxes).astype(DETECTION)
    return NewTracklet(track.number, boxes, embedded, mean.astype(np.float16))
