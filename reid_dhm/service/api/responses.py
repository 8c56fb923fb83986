"""What the service answers, as types; the OpenAPI description is made from them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, Field

from reid_dhm.gallery.records import Tracklet, Video
from reid_dhm.gallery.search.candidates import Candidate
from reid_dhm.service.frames.frames import can_be_reached, source_name

T = TypeVar("T")


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
    offsets: list[str] = Field(description="Offsets from UTC of the videos that have one.")
    seconds: float = Field(description="Length of the longest video.")
    model: str | None = Field(description="Fingerprint of the model that embedded it.")
    detects: bool = Field(description="Whether it finds the person in images without a box.")
    prior: float | None = Field(
        description="What match probabilities take the chance of one person to be before the "
        "similarity is known; null where hits have none."
    )


class CameraModel(BaseModel):
    """A place that is filmed."""

    id: int
    name: str
    videos: int
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
    frame: int = Field(description="Of the best image.")
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
    """One of a tracklet's best images."""

    rank: int = Field(description="0 is the best.")
    quality: float


class TrackletDetail(TrackletModel):
    """A tracklet with all its boxes and images."""

    boxes: list[BoxModel]
    crops: list[CropModel]


class SeenModel(BaseModel):
    """Somebody in a frame."""

    tracklet: str
    person: str | None
    box: tuple[float, float, float, float]


class CandidateModel(TrackletModel):
    """A tracklet that was found."""

    similarity: float = Field(description="Cosine between the query and the tracklet, -1 to 1.")
    probability: float | None = Field(description="That both show one person; null if unknown.")

    @classmethod
    def of(cls, candidate: Candidate) -> CandidateModel:
        """From what a search returned."""
        return cls(
            **cls.fields_of(candidate.tracklet),
            similarity=candidate.similarity,
            probability=candidate.probability,
        )


class SearchResult(BaseModel):
    """Tracklets, best first."""

    hits: list[CandidateModel]
    boxes: list[tuple[float, float, float, float] | None] = Field(
        description="Where the person was looked for in each uploaded image; null for all."
    )
    recall: float | None = Field(
        description="Share of the ten nearest that this kind of index finds, measured on a sample "
        "when it was filled; null where it finds all."
    )


class DeletionResult(BaseModel):
    """What was forgotten, or would be."""

    tracklets: int
    dry_run: bool = False
    traces: Annotated[
        bool,
        Field(
            description="Whether what was deleted is still in the write-ahead log, because another "
            "process is reading the gallery; the service overwrites it when that is done."
        ),
    ] = False


class SessionModel(BaseModel):
    """Who is asking."""

    required: bool = Field(description="Whether the service asks for a token.")
    actor: str | None = Field(description="What the audit log calls the caller; null if unknown.")


class HealthModel(BaseModel):
    """Whether the service can answer."""

    status: str
