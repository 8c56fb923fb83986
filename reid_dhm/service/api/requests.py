"""Requests as types; the OpenAPI schema is generated from them."""

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

from reid_dhm.gallery.records import TrackletFilter, TrackletId, wall_clock
from reid_dhm.gallery.search.query_image import as_box

MAX_CANDIDATES = 500
MAX_TRACKLETS = 200

_HASH = r"[0-9a-f]{16}"
_MAX_KEY = 2**53 - 1  # the largest exact integer of JavaScript


def _time_bound(value: Any) -> float | datetime:
    if isinstance(value, datetime):
        return value
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        return wall_clock(str(value))
    if not math.isfinite(seconds):
        raise ValueError("need a finite number of seconds")
    return seconds


Hash = Annotated[str, StringConstraints(pattern=f"^{_HASH}$")]
Id = Annotated[str, StringConstraints(pattern=f"^{_HASH}-[1-9][0-9]{{0,8}}$")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]
FrameNumber = Annotated[int, Path(ge=0, lt=2**31, description="From 0, in the source.")]
PersonNumber = Annotated[int, Path(ge=1, le=_MAX_KEY, description="Number of the person.")]
PixelBox = Annotated[
    tuple[float, float, float, float],
    AfterValidator(as_box),
    Field(description="x1, y1, x2, y2 in pixels", examples=[[40, 20, 90, 170]]),
]
_TIME_SCHEMA = {"anyOf": [{"type": "number"}, {"type": "string", "format": "date-time"}]}
TimeBound = Annotated[
    float | datetime,
    BeforeValidator(_time_bound),
    WithJsonSchema(_TIME_SCHEMA),
    Field(
        description="Seconds from each video's start, or a wall-clock time (ISO 8601)",
        examples=["2026-03-01T08:30:00+01:00"],
    ),
]
# Forms and query parameters are left out rather than null.
OptionalTime = Annotated[
    float | datetime | None, BeforeValidator(_time_bound), WithJsonSchema(_TIME_SCHEMA)
]
OptionalName = Annotated[
    Name | None, WithJsonSchema({"type": "string", "minLength": 1, "maxLength": 200})
]
OptionalSimilarity = Annotated[
    float | None,
    Field(ge=-1, le=1),
    WithJsonSchema({"type": "number", "minimum": -1, "maximum": 1}),
]
Cursor = Annotated[
    int, Query(ge=0, le=_MAX_KEY, description="`next` of the previous page; 0 for the first.")
]
PageSize = Annotated[int, Query(ge=1, le=200, description="Items on a page.")]


class Strict(BaseModel):
    """A request whose unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")


class FilterModel(Strict):
    """Tracklets that satisfy every condition given."""

    cameras: list[Name] = Field([], max_length=100, description="In any of these cameras.")
    videos: list[Hash] = Field([], max_length=100, description="In any of these videos.")
    after: TimeBound | None = Field(None, description="Seen at this time or later.")
    before: TimeBound | None = Field(None, description="Seen at this time or earlier.")

    def to_filter(self, tracklets: Sequence[str] = ()) -> TrackletFilter:
        """As a filter of the gallery."""
        return TrackletFilter(
            tracklets=ids(tracklets),
            videos=self.videos,
            cameras=self.cameras,
            after=self.after,
            before=self.before,
        )


class SearchOptions(FilterModel):
    """Options of every search."""

    top_k: int = Field(20, ge=1, le=MAX_CANDIDATES, description="Maximum number of candidates.")
    confirmed: list[Id] = Field(
        [],
        max_length=MAX_TRACKLETS,
        description="Candidates of an earlier search that show the person.",
    )
    rejected: list[Id] = Field(
        [],
        max_length=MAX_TRACKLETS,
        description="Candidates that show somebody else; they are not returned.",
    )
    min_similarity: float | None = Field(
        None, ge=-1, le=1, description="Lowest similarity of a candidate."
    )


class TrackletSearch(SearchOptions):
    """Search for the person in tracklets of the gallery."""

    tracklets: list[Id] = Field(min_length=1, max_length=MAX_TRACKLETS)


class FrameSearch(SearchOptions):
    """Search for the person in a box of a video's frame."""

    video: Hash
    frame: int = Field(ge=0, lt=2**31)
    box: PixelBox


_CONDITIONS = ("tracklets", "cameras", "videos", "after", "before")


class TravelModel(Strict):
    """The least time from one camera to another, either way."""

    cameras: tuple[Name, Name]
    seconds: float = Field(ge=0, lt=1e7)


class DeletionRequest(FilterModel):
    """What to delete. An empty list is refused: it would mean everybody, not nobody."""

    model_config = ConfigDict(
        json_schema_extra={"anyOf": [{"required": [name]} for name in _CONDITIONS]}
    )

    tracklets: list[Id] = Field([], min_length=1, max_length=10000)
    cameras: list[Name] = Field([], min_length=1, max_length=100)
    videos: list[Hash] = Field([], min_length=1, max_length=100)
    dry_run: bool = Field(False, description="Only count the tracklets.")


class LinkRequest(Strict):
    """Tracklets that show one person."""

    tracklets: list[Id] = Field(min_length=2, max_length=MAX_TRACKLETS)


class SplitRequest(Strict):
    """Tracklets that do not show the person."""

    tracklets: list[Id] = Field(min_length=1, max_length=MAX_TRACKLETS)


PersonId = Annotated[int, Field(ge=1, le=_MAX_KEY)]


class MergeRequest(Strict):
    """People who are one: the first, whom the others join."""

    people: list[PersonId] = Field(min_length=2, max_length=100)
    name: Name | None = Field(None, description="Of the person, where several have one.")


class NameRequest(Strict):
    """A person's name."""

    name: Name | None = Field(description="Null takes it away.")


class LabelRequest(Strict):
    """Tracklets that show the person of a name, whom others need not know yet."""

    tracklets: list[Id] = Field(min_length=1, max_length=MAX_TRACKLETS)
    name: Name


class DifferenceRequest(Strict):
    """Two people who are not one."""

    people: tuple[PersonId, PersonId]


class HideRequest(Strict):
    """Whether lists leave a person out."""

    hidden: bool


class UndoRequest(Strict):
    """A statement to take back."""

    change: PersonId


class LinkingRequest(Strict):
    """How people are found."""

    new_only: bool = Field(
        False, description="Only tracklets without a person get one; nobody else changes."
    )

    travel: list[TravelModel] = Field(
        [], max_length=1000, description="Cameras between which nobody is faster."
    )


class SignIn(Strict):
    """A token, to open a session of the page."""

    token: str = Field(max_length=1000)


def ids(texts: Sequence[str]) -> list[TrackletId]:
    """Tracklet ids of the gallery."""
    return [TrackletId.parse(text) for text in texts]
