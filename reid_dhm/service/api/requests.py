"""What the service is asked, as types; the OpenAPI description is made from them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from fastapi import Path, Query
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
)

from reid_dhm.gallery.records import Box, TrackletFilter, TrackletId, wall_clock

MAX_HITS = 500
MAX_TRACKLETS = 200

_HASH = r"[0-9a-f]{16}"
_MAX_KEY = 2**53 - 1  # what JavaScript can count


def _moment(value: Any) -> float | datetime:
    if isinstance(value, datetime):
        return value
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        return wall_clock(str(value))
    if not math.isfinite(seconds):
        raise ValueError("give a finite number of seconds")
    return seconds


def _sides(box: Box) -> Box:
    x1, y1, x2, y2 = box
    if not all(math.isfinite(side) for side in box) or x1 >= x2 or y1 >= y2:
        raise ValueError("give x1, y1, x2, y2 in pixels, with x1 < x2 and y1 < y2")
    return box


Hash = Annotated[str, StringConstraints(pattern=f"^{_HASH}$")]
Id = Annotated[str, StringConstraints(pattern=f"^{_HASH}-[1-9][0-9]{{0,8}}$")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]
FrameNumber = Annotated[int, Path(ge=0, lt=2**31, description="From 0, in the source.")]
PixelBox = Annotated[
    tuple[float, float, float, float],
    AfterValidator(_sides),
    Field(description="x1, y1, x2, y2 in pixels", examples=[[40, 20, 90, 170]]),
]
Moment = Annotated[
    float | datetime,
    BeforeValidator(_moment),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string", "format": "date-time"}]}),
    Field(
        description="Seconds from each video's start, or a wall-clock time (ISO 8601)",
        examples=["2026-03-01T08:30:00+01:00"],
    ),
]
Cursor = Annotated[
    int, Query(ge=0, le=_MAX_KEY, description="`next` of the page before; 0 for the first.")
]
PageSize = Annotated[int, Query(ge=1, le=200, description="Items on a page.")]


class Strict(BaseModel):
    """A request without words that mean nothing."""

    model_config = ConfigDict(extra="forbid")


class Conditions(Strict):
    """Which tracklets are meant: all that satisfy every condition given."""

    cameras: list[Name] = Field([], max_length=100, description="Seen by any of these.")
    videos: list[Hash] = Field([], max_length=100, description="In any of these.")
    after: Moment | None = Field(None, description="Still there at this time or later.")
    before: Moment | None = Field(None, description="There already at this time or earlier.")

    def where(self, tracklets: Sequence[str] = ()) -> TrackletFilter:
        """As the gallery understands it."""
        return TrackletFilter(
            tracklets=ids(tracklets),
            videos=self.videos,
            cameras=self.cameras,
            after=self.after,
            before=self.before,
        )


class Question(Conditions):
    """What every search may say besides whom it looks for."""

    top_k: int = Field(20, ge=1, le=MAX_HITS, description="Hits at most.")
    confirmed: list[Id] = Field(
        [], max_length=MAX_TRACKLETS, description="Hits of an earlier search that were right."
    )
    rejected: list[Id] = Field(
        [], max_length=MAX_TRACKLETS, description="Hits that were wrong; they are left out."
    )
    min_similarity: float | None = Field(
        None, ge=-1, le=1, description="Leave out hits that are less similar."
    )


class TrackletQuestion(Question):
    """More of the person whom these tracklets show."""

    tracklets: list[Id] = Field(min_length=1, max_length=MAX_TRACKLETS)


class FrameQuestion(Question):
    """The person in a box of a video's frame."""

    video: Hash
    frame: int = Field(ge=0, lt=2**31)
    box: PixelBox


class DeletionRequest(Conditions):
    """What to forget. An empty list is refused: it would mean everybody, not nobody."""

    tracklets: list[Id] = Field([], min_length=1, max_length=10000)
    cameras: list[Name] = Field([], min_length=1, max_length=100)
    videos: list[Hash] = Field([], min_length=1, max_length=100)
    dry_run: bool = Field(False, description="Only say how many tracklets it would be.")


class SignIn(Strict):
    """A token, in exchange for a session of the page."""

    token: str = Field(max_length=1000)


def ids(texts: Sequence[str]) -> list[TrackletId]:
    """Tracklet ids as the gallery knows them."""
    return [TrackletId.parse(text) for text in texts]
