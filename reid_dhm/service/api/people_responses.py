"""Responses about people, as types; the OpenAPI schema is generated from them."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field

from reid_dhm.gallery.people.answers.presence import PersonSummary
from reid_dhm.gallery.people.answers.route import Appearance
from reid_dhm.gallery.store.changes import Change
from reid_dhm.service.api.responses import TrackletModel


class PersonModel(BaseModel):
    """A person; with conditions, the figures are of the tracklets that satisfy them."""

    id: int = Field(description="Number, which stays.")
    name: str | None
    tracklets: int
    confirmed: int = Field(description="Of all tracklets, how many a user confirmed.")
    cameras: list[str] = Field(description="In the order of first being seen there.")
    first_seen: datetime | None = Field(description="Null without wall-clock time.")
    last_seen: datetime | None
    start: float | None = Field(
        description="Seconds from the start of the video, for a person of one video without "
        "wall-clock time."
    )
    end: float | None
    seconds: float = Field(description="In view, summed over tracklets.")
    hidden: bool = Field(description="Whether a user hid the person from lists.")

    @classmethod
    def of(cls, found: PersonSummary) -> PersonModel:
        """The model of a summary."""
        return cls(
            id=found.person.id,
            name=found.person.name,
            tracklets=found.num_tracklets,
            confirmed=found.person.num_confirmed,
            start=found.start,
            end=found.end,
            hidden=found.person.hidden,
            cameras=list(found.cameras),
            first_seen=found.first_seen,
            last_seen=found.last_seen,
            seconds=found.seconds,
        )


class AppearanceModel(TrackletModel):
    """A tracklet of a person, and how it came to the person."""

    confirmed_by: str | None = Field(description="Null if it was found.")
    confirmed_at: datetime | None

    @classmethod
    def of(cls, found: Appearance) -> AppearanceModel:
        """The model of an appearance."""
        said = found.confirmation
        return cls(
            **cls.fields_of(found.tracklet),
            confirmed_by=None if said is None else said.by,
            confirmed_at=None if said is None else said.at,
        )


class PersonDetail(BaseModel):
    """A person's way over all cameras, by time."""

    id: int
    name: str | None
    hidden: bool
    appearances: list[AppearanceModel]


class SaidPerson(PersonModel):
    """A person after a statement."""

    change: int = Field(description="Number of the change; `POST /api/undo` takes it back.")


class SplitResult(BaseModel):
    """Two people after a split."""

    new: PersonModel
    left: PersonModel
    change: int


class ChangeModel(BaseModel):
    """A statement that can be undone."""

    change: int
    action: str = Field(description="`link`, `merge`, `split`, `name` …")
    actor: str
    time: datetime

    @classmethod
    def of(cls, found: Change) -> ChangeModel:
        """The model of a record."""
        return cls(change=found.id, action=found.action, actor=found.actor, time=found.time)


class QuestionModel(BaseModel):
    """Two people who might be one."""

    first: PersonModel
    second: PersonModel
    similarity: float = Field(description="Mean cosine of their tracklets, -1 to 1.")


class LinkingResult(BaseModel):
    """What finding people changed."""

    people: int
    new: int
    gone: int
    moved: int = Field(description="Tracklets that changed from one person to another.")
    added: int = Field(description="Tracklets that belonged to nobody before.")


class HourModel(BaseModel):
    """Different people in an hour."""

    camera: str | None = Field(description="Null for all cameras together.")
    hour: str = Field(description="ISO 8601, or `hour 0` from the start of untimed videos.")
    people: int


class FlowModel(BaseModel):
    """How often somebody was seen at one camera and next at another."""

    origin: str = Field(alias="from", description="A camera, or `outside`.")
    to: str
    count: int


class StayModel(BaseModel):
    """How long people stay in view of a camera, in seconds."""

    camera: str
    people: int
    visits: int
    median: float
    longest: float


class CountsModel(BaseModel):
    """Different people per camera and hour, their ways between cameras, and their stays."""

    hours: list[HourModel]
    flows: list[FlowModel]
    stays: list[StayModel]
