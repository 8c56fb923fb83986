"""How boxes become tracklets; cheap to import, so that options are checked before heavy work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from reid_dhm.errors import InputError

TRACKERS = ("bytetrack", "sort")


@dataclass(frozen=True, slots=True)
class TrackSettings:
    """How boxes become tracklets.

    Attributes:
        tracker: one of :data:`TRACKERS`.
        activation: lowest score of a box that begins a track, 0 to 1; None for the detector's own,
            or 0.5 where it has none.
        track_overlap: least intersection over union of a box and the predicted box of its track. A
            high value splits tracks where people meet, which search repairs; a low one mixes them.
        min_boxes: tracks with fewer boxes are dropped.
        max_seconds: longer tracks are split.
        crops: how many images a tracklet keeps.
        crops_apart: least time between two offered, in seconds.
    """

    tracker: str = "bytetrack"
    activation: float | None = None
    track_overlap: float = 0.5
    min_boxes: int = 3
    max_seconds: float = 300.0
    crops: int = 8
    crops_apart: float = 0.2

    def __post_init__(self) -> None:
        if self.tracker not in TRACKERS:
            raise InputError(f"unknown tracker {self.tracker!r}: use {' or '.join(TRACKERS)}")
        for name in ("activation", "track_overlap"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise InputError(f"{name} is {value}: use 0 to 1")
        for name in ("min_boxes", "crops"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}: use 1 or more")

    @property
    def least_score(self) -> float:
        """``activation`` as a number."""
        return 0.5 if self.activation is None else self.activation

    def as_dict(self) -> dict[str, Any]:
        """As stored with a video; :meth:`from_dict` reads it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> TrackSettings:
        """From the settings of a video, which hold others too."""
        return cls(**{name: settings[name] for name in cls.__dataclass_fields__})

    def following(self, earlier: Mapping[str, Any]) -> TrackSettings:
        """These, with the settings of an earlier run wherever they are at this release's default.

        An earlier release may have had other defaults; a video that it began goes on with those.

        Args:
            earlier: settings of the video.
        """
        left = {f.name for f in fields(self) if getattr(self, f.name) == f.default}
        return replace(self, **{name: earlier[name] for name in left if name in earlier})
