"""How boxes become tracklets; cheap to import, so that options are checked before heavy work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from reid_dhm.errors import InputError

TRACKERS = ("auto", "bytetrack", "sort", "none")
FAR_APART = 1.0
"""Seconds between frames from which ``auto`` follows nobody."""

_ABSENT = {"join": False}  # what a video was indexed with whose settings do not have it


@dataclass(frozen=True, slots=True)
class TrackSettings:
    """How boxes become tracklets.

    Attributes:
        tracker: one of :data:`TRACKERS`: a tracker's name; ``none``, by which every person in every
            frame is a tracklet of one box; ``auto`` is ``none`` where frames are a second apart or
            more, and ``bytetrack`` else.
        activation: lowest score of a box that begins a track, 0 to 1; None for the detector's own,
            or 0.5 where it has none.
        track_overlap: least intersection over union of a box and the predicted box of its track. A
            high value splits tracks where people meet, which search repairs; a low one mixes them.
        min_boxes: tracks with fewer boxes are dropped, but with ``none``.
        max_seconds: longer tracks are split.
        crops: how many images a tracklet keeps.
        crops_apart: least time between two offered, in seconds.
        join: join the pieces of a track whose person was hidden, once the video is complete.
    """

    tracker: str = "auto"
    activation: float | None = None
    track_overlap: float = 0.5
    min_boxes: int = 3
    max_seconds: float = 300.0
    crops: int = 8
    crops_apart: float = 0.2
    join: bool = True

    def __post_init__(self) -> None:
        if self.tracker not in TRACKERS:
            raise InputError(f"unknown tracker {self.tracker!r}: use one of {', '.join(TRACKERS)}")
        for name in ("activation", "track_overlap"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                shown = name.replace("activation", "track_confidence")  # as users know it
                raise InputError(f"{shown} is {value}: use 0 to 1")
        for name in ("min_boxes", "crops"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}: use 1 or more")

    @property
    def least_score(self) -> float:
        """``activation`` as a number."""
        return 0.5 if self.activation is None else self.activation

    def for_rate(self, frame_rate: float) -> TrackSettings:
        """These, with the tracker that ``auto`` stands for at so many frames per second.

        Where nobody is followed, one box is enough and there is nothing to join.
        """
        tracker = self.tracker
        if tracker == "auto":
            tracker = "none" if frame_rate * FAR_APART <= 1 else "bytetrack"
        if tracker == "none":
            return replace(self, tracker=tracker, min_boxes=1, join=False)
        return replace(self, tracker=tracker)

    def as_dict(self) -> dict[str, Any]:
        """As stored with a video; :meth:`from_dict` reads it. What is off is left out."""
        return {name: value for name, value in asdict(self).items() if value is not False}

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> TrackSettings:
        """From the settings of a video, which hold others too."""
        known = {**_ABSENT, **settings}
        return cls(**{name: known[name] for name in cls.__dataclass_fields__})

    def following(self, earlier: Mapping[str, Any]) -> TrackSettings:
        """These, with the settings of an earlier run wherever they are at this release's default.

        An earlier release may have had other defaults; a video that it began goes on with those.

        Args:
            earlier: settings of the video.
        """
        left = {f.name for f in fields(self) if getattr(self, f.name) == f.default}
        known = {**_ABSENT, **earlier}
        return replace(self, **{name: known[name] for name in left if name in known})
