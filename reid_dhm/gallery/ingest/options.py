"""How a source is indexed; cheap to import, so that options are checked before heavy work."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from reid_dhm.errors import InputError
from reid_dhm.gallery.track.settings import TrackSettings

_MAX_STRIDE = 1_000_000


@dataclass(frozen=True, slots=True)
class IndexingOptions:
    """How a source is indexed.

    Attributes:
        stride: process every so many frames.
        begin, end: seconds from the start of the source; None is its end.
        tracks: how boxes become tracklets.
        chunk: frames between commits.
    """

    stride: int = 1
    begin: float = 0.0
    end: float | None = None
    tracks: TrackSettings = field(default_factory=TrackSettings)
    chunk: int = 64

    def __post_init__(self) -> None:
        if not 1 <= self.stride <= _MAX_STRIDE:
            raise InputError(f"stride is {self.stride}: use 1 to {_MAX_STRIDE}")
        if self.chunk < 1:
            raise InputError(f"chunk is {self.chunk}: use 1 or more")
        bounds = (self.begin, self.begin + 1 if self.end is None else self.end)
        if not all(map(math.isfinite, bounds)) or not 0 <= bounds[0] < bounds[1]:
            end = "the end" if self.end is None else f"{self.end:g} s"
            raise InputError(
                f"empty span from {self.begin:g} s to {end}: need finite numbers, 0 ≤ begin < end"
            )
