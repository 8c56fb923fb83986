"""Responses as types; the OpenAPI schema is generated from them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, Field

from reid_dhm.gallery.footage.seeking import is_available
from reid_dhm.gallery.records import Tracklet, Video
from reid_dhm.gallery.search.candidates import Candidate
from reid_dhm.service.frames.frames import source_name

T = TypeVar("T")


class Page(BaseModel, Generic[T]):
    """A page of items."""

    items: list[T]
    next: int | None = Field(description="The cursor of the next page; null on the last.")


class GalleryModel(BaseModel):
    """Totals of the gallery."""

    name: str
    tracklets: int
    cameras: int
    videos: int
    start_time: datetime | None = Field(description="The earliest wall-clock time of a video.")
    end_time: datetime | None = Field(description="The latest one.")
    untimed: int = Field(description="Videos without wall-clock time.")
    offsets: list[str] = Field(description="Offsets from UTC of the videos that have one.")
    seconds: float = Field(description="Length of the longest video.")
    model: str | None = Field(description="Fingerprint of the gallery's model.")
    detects: bool = Field(
        description="Whether a detector finds the person in images without a box."
    )
    prior: float | None = Field(
        description="Probability of a match before the similarity is known, as match "
        "probabilities assume it; null without match probabilities."
    )


class CameraModel(BaseModel):
    """A camera."""

    id: int
    name: str
    videos: int
    tracklets: int


class VideoModel(BaseModel):
    """A video of one camera."""

    video: str = Field(description="Content hash, the video's id.")
    camera: str
    source: str = Field(description="Name of the file or folder, or address of the stream.")
    fps: float
    width: int
    height: int
    start_time: datetime | None
    frames: int = Field(description="Frames that were processed.")
    last_frame: int = Field(description="Number of the last processed frame.")
    seconds: float
    complete: bool = Field(description="Whether it was indexed to its end.")
    reachable: bool = Field(
        description="Whether the source is available, so that frames can be shown."
    )
    tracklets: int

    @classmethod
    def of(cls, video: Video, tracklets: int) -> VideoModel:
        """The model of a record."""
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
            reachable=is_available(video),
            tracklets=tracklets,
        )


class TrackletModel(BaseModel):
    """A person crossing one camera's view."""

    tracklet: str = Field(description="Permanent id.")
    video: str
    camera: str
    person: str | None = Field(
        description="Name of the person, or the number of one without; null of nobody's."
    )
    person_id: int | None = Field(description="Number of the person.")
    start: float = Field(description="Seconds from the video's start.")
    end: float
    start_time: datetime | None = Field(description="Wall-clock time, if the video has one.")
    end_time: datetime | None
    first_frame: int
    last_frame: int
    num_boxes: int = Field(description="Frames in which the person was detected.")
    frame: int = Field(description="Frame of the best crop.")
    box: tuple[float, float, float, float] = Field(description="In that frame, in pixels.")

    @staticmethod
    def fields_of(tracklet: Tracklet) -> dict[str, Any]:
        """The fields of a record."""
        named = {"tracklet": str(tracklet.id), "video": tracklet.id.video}
        same = TrackletModel.model_fields.keys() - named.keys()
        return named | {name: getattr(tracklet, name) for name in same}


class BoxModel(BaseModel):
    """A person's box in one frame."""

    frame: int
    time: float = Field(description="Seconds from the video's start.")
    box: tuple[float, float, float, float]


class CropModel(BoxModel):
    """One of a tracklet's best crops."""

    rank: int = Field(description="0 is the best.")
    quality: float


class TrackletDetail(TrackletModel):
    """A tracklet with all its boxes and crops."""

    boxes: list[BoxModel]
    crops: list[CropModel]


class SeenModel(BaseModel):
    """A person in a frame."""

    tracklet: str
    person: str | None
    box: tuple[float, float, float, float]


class CandidateModel(TrackletModel):
    """A candidate: a tracklet and how similar it is."""

    similarity: float = Field(description="Cosine between the query and the tracklet, -1 to 1.")
    probability: float | None = Field(description="That both show one person; null if unknown.")
    likely: bool | None = Field(description="Whether that is 50 % or more; null if unknown.")

    @classmethod
    def of(cls, candidate: Candidate) -> CandidateModel:
        """The model of a candidate."""
        return cls(
            **cls.fields_of(candidate.tracklet),
            similarity=candidate.similarity,
            probability=candidate.probability,
            likely=None if candidate.probability is None else candidate.is_likely,
        )


class SearchResult(BaseModel):
    """Candidates, the most similar first."""

    hits: list[CandidateModel]
    boxes: list[tuple[float, float, float, float] | None] = Field(
        description="Box of the person in each uploaded image; null for the whole image."
    )
    recall: float | None = Field(
        description="Recall@10 of an approximate index, measured on a sample when it was built; "
        "null for an exact one."
    )
    basis: str | None = Field(
        description="What match probabilities rest on, as `calibrated on …`; null without any."
    )


class DeletionResult(BaseModel):
    """What was deleted, or would be."""

    tracklets: int
    dry_run: bool = False
    traces: Annotated[
        bool,
        Field(
            description="Whether deleted data is still in the write-ahead log because another "
            "process reads the gallery; the service overwrites it afterwards."
        ),
    ] = False


class SessionModel(BaseModel):
    """Who sends the request."""

    required: bool = Field(description="Whether the service needs a token.")
    actor: str | None = Field(description="Name in the audit log; null if unknown.")
    role: str | None = Field(
        description="`viewer`, `investigator` or `administrator`; null if unknown."
    )


class HealthModel(BaseModel):
    """Whether the service works."""

    status: str
