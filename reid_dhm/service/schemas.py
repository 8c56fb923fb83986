"""What the service takes and gives, as types; the OpenAPI description is made from them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar

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

from reid_dhm.gallery.records import Box, Tracklet, TrackletId, Video, Where, wall_clock
from reid_dhm.gallery.search import Hit
from reid_dhm.service.frames import can_be_reached, source_name

T = TypeVar("T")

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


class Page(BaseModel, Generic[T]):
    """A run of items."""

    items: list[T]
    next: int | None = Field(description="The cursor of the next page; null on the last.")


class GalleryModel(BaseModel):
    """What there is, in all."""

    name: str
    tracklets: int
    cameras: int
    videos: int
    start_time: datetime | None = Field(description="The earliest wall-clock time of a video.")
    end_time: datetime | None = Field(description="The latest one.")
    untimed: int = Field(description="Videos without wall-clock time.")
    seconds: float = Field(description="Length of the longest video.")
    model: str | None = Field(description="Fingerprint of the model that embedded it.")
    calibrated: bool = Field(description="Whether hits have a match probability.")


class CameraModel(BaseModel):
    """A place that is filmed."""

    id: int
    name: str
    tracklets: int


class VideoModel(BaseModel):
    """A video of one camera."""

    video: str = Field(description="Content hash, which names it.")
    camera: str
    source: str = Field(description="Name of the file or folder, or address of the stream.")
    fps: float
    width: int
    height: int
    start_time: datetime | None
    frames: int = Field(description="How many were looked at.")
    last_frame: int = Field(description="Number of the last one that was looked at.")
    seconds: float
    complete: bool = Field(description="Whether it was indexed to its end.")
    reachable: bool = Field(description="Whether its frames can be shown.")
    tracklets: int

    @classmethod
    def of(cls, video: Video, tracklets: int) -> VideoModel:
        """From a record of the gallery."""
        return cls(
            video=video.hash,
            camera=video.camera,
            source=source_name(video),
            fps=video.fps,
            width=video.width,
            height=video.height,
            start_time=video.start_time,
            frames=video.num_frames,
            last_frame=max(0, video.position - 1),
            seconds=video.position / video.fps,
            complete=video.complete,
            reachable=can_be_reached(video),
            tracklets=tracklets,
        )


class TrackletModel(BaseModel):
    """A person on the way through one camera's view."""

    tracklet: str = Field(description="What names it for good.")
    video: str
    camera: str
    person: str | None = Field(description="A label that somebody gave.")
    start: float = Field(description="Seconds from the video's start.")
    end: float
    start_time: datetime | None = Field(description="Wall-clock time, if the video has one.")
    end_time: datetime | None
    first_frame: int
    last_frame: int
    num_boxes: int = Field(description="Frames in which the person was detected.")
    frame: int = Field(description="Of the best picture.")
    box: tuple[float, float, float, float] = Field(description="In that frame, in pixels.")

    @staticmethod
    def fields_of(tracklet: Tracklet) -> dict[str, Any]:
        """A record of the gallery, by the names used here."""
        named = {"tracklet": str(tracklet.id), "video": tracklet.id.video}
        same = TrackletModel.model_fields.keys() - named.keys()
        return named | {name: getattr(tracklet, name) for name in same}


class BoxModel(BaseModel):
    """Where a person was in one frame."""

    frame: int
    time: float = Field(description="Seconds from the video's start.")
    box: tuple[float, float, float, float]


class CropModel(BoxModel):
    """One of a tracklet's best pictures."""

    rank: int = Field(description="0 is the best.")
    quality: float


class TrackletDetail(TrackletModel):
    """A tracklet with all its boxes and pictures."""

    boxes: list[BoxModel]
    crops: list[CropModel]


class SeenModel(BaseModel):
    """Somebody in a frame."""

    tracklet: str
    person: str | None
    box: tuple[float, float, float, float]


class HitModel(TrackletModel):
    """A tracklet that was found."""

    similarity: float = Field(description="Cosine between the query and the tracklet, -1 to 1.")
    probability: float | None = Field(description="That both show one person; null if unknown.")

    @classmethod
    def of(cls, hit: Hit) -> HitModel:
        """From what a search returned."""
        return cls(
            **cls.fields_of(hit.tracklet), similarity=hit.similarity, probability=hit.probability
        )


class SearchResult(BaseModel):
    """Tracklets, best first."""

    hits: list[HitModel]
    searched: int = Field(description="Tracklets that satisfy the conditions.")


class Conditions(Strict):
    """Which tracklets are meant: all that satisfy every condition given."""

    cameras: list[Name] = Field([], max_length=100, description="Seen by any of these.")
    videos: list[Hash] = Field([], max_length=100, description="In any of these.")
    after: Moment | None = Field(None, description="Still there at this time or later.")
    before: Moment | None = Field(None, description="There already at this time or earlier.")

    def where(self, tracklets: Sequence[str] = ()) -> Where:
        """As the gallery understands it."""
        return Where(
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


class TrackletQuestion(Question):
    """More of the person whom these tracklets show."""

    tracklets: list[Id] = Field(min_length=1, max_length=MAX_TRACKLETS)


class FrameQuestion(Question):
    """The person in a box of a video's frame."""

    video: Hash
    frame: int = Field(ge=0, lt=2**31)
    box: PixelBox


class DeletionRequest(Conditions):
    """What to forget."""

    tracklets: list[Id] = Field([], max_length=10000)
    dry_run: bool = Field(False, description="Only say how many tracklets it would be.")


class DeletionResult(BaseModel):
    """What was forgotten, or would be."""

    tracklets: int
    dry_run: bool = False


class SignIn(Strict):
    """A token, in exchange for a session of the page."""

    token: str = Field(max_length=1000)


class SessionModel(BaseModel):
    """Who is asking."""

    required: bool = Field(description="Whether the service asks for a token.")
    actor: str | None = Field(description="What the audit log calls the caller; null if unknown.")


class HealthModel(BaseModel):
    """Whether the service can answer."""

    status: str


def ids(texts: Sequence[str]) -> list[TrackletId]:
    """Tracklet ids as the gallery knows them."""
    return [TrackletId.parse(text) for text in texts]
