"""Who is who: people, their ways and counts. What users say of them is in :mod:`.statements`."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response

from reid_dhm.gallery.people.answers import counts
from reid_dhm.gallery.people.answers.presence import (
    PersonSummary,
    read_presence,
    summarise,
    summary_of,
)
from reid_dhm.gallery.people.answers.route import read_route
from reid_dhm.gallery.records import TrackletFilter
from reid_dhm.gallery.store.people import find_person
from reid_dhm.service.api.catalog import JPEG, JPEGResponse
from reid_dhm.service.api.people_responses import (
    AppearanceModel,
    CountsModel,
    FlowModel,
    HourModel,
    PersonDetail,
    PersonModel,
    StayModel,
)
from reid_dhm.service.api.requests import (
    Cursor,
    Hash,
    Name,
    OptionalTime,
    PageSize,
    PersonNumber,
)
from reid_dhm.service.api.responses import Page
from reid_dhm.service.errors import Problem, documented
from reid_dhm.service.state import ServiceDep

router = APIRouter(prefix="/api", tags=["people"], responses=documented(404))


@router.get("/people")
def list_people(
    service: ServiceDep,
    camera: Annotated[list[Name], Query(max_length=100)] = [],  # noqa: B006 (FastAPI copies)
    video: Annotated[list[Hash], Query(max_length=100)] = [],  # noqa: B006
    since: Annotated[OptionalTime, Query(alias="from")] = None,
    until: Annotated[OptionalTime, Query(alias="to")] = None,
    min_cameras: Annotated[int, Query(ge=1, le=1000, description="Least number of cameras.")] = 1,
    hidden: Annotated[bool, Query(description="Also people whom a user hid.")] = False,
    order: Annotated[
        Literal["number", "last_seen"], Query(description="`last_seen`: the latest first.")
    ] = "number",
    after: Cursor = 0,
    limit: PageSize = 100,
) -> Page[PersonModel]:
    """People whose tracklets satisfy every condition."""
    where = TrackletFilter(cameras=camera, videos=video, after=since, before=until)
    with service.folder() as gallery:
        if order == "number":
            page = summarise(gallery, where, min_cameras, after, limit + 1, hidden=hidden)
            items = [PersonModel.of(each) for each in page[:limit]]
            return Page(items=items, next=items[-1].id if len(page) > limit else None)
        found = summarise(gallery, where, min_cameras, hidden=hidden)
    found.sort(key=_last_seen, reverse=True)
    items = [PersonModel.of(each) for each in found[after : after + limit]]
    return Page(items=items, next=after + limit if len(found) > after + limit else None)


@router.get("/people/{person}")
def show_person(service: ServiceDep, person: PersonNumber) -> PersonDetail:
    """A person's appearances over all cameras, by time."""
    with service.folder() as gallery:
        route = read_route(gallery, find_person(gallery, person))
    return PersonDetail(
        id=person,
        name=route.person.name,
        hidden=route.person.hidden,
        appearances=[AppearanceModel.of(each) for each in route.appearances],
    )


@router.get("/people/{person}/portrait", response_class=Response, responses=JPEG)
def portrait(service: ServiceDep, person: PersonNumber) -> JPEGResponse:
    """The best crop of a person's longest tracklet."""
    with service.folder() as gallery:
        image = gallery.thumbnail(summary_of(gallery, person).portrait)
    if image is None:  # deleted in between
        raise Problem(404, f"the gallery has no person {person}")
    return JPEGResponse(image)


@router.get("/counts")
def count_people(
    service: ServiceDep,
    camera: Annotated[list[Name], Query(max_length=100)] = [],  # noqa: B006
    video: Annotated[list[Hash], Query(max_length=100)] = [],  # noqa: B006
    since: Annotated[OptionalTime, Query(alias="from")] = None,
    until: Annotated[OptionalTime, Query(alias="to")] = None,
    gap: Annotated[
        float, Query(ge=0, le=1e7, description="Seconds out of view that end a visit.")
    ] = 60.0,
) -> CountsModel:
    """Different people per camera and hour, their ways between cameras, and their stays."""
    where = TrackletFilter(cameras=camera, videos=video, after=since, before=until)
    with service.folder() as gallery:
        presence = read_presence(gallery, where)
    visits = presence.visits(gap)
    return CountsModel(
        hours=[HourModel(**asdict(each)) for each in counts.hour_counts(presence)],
        flows=[FlowModel(**way) for way in counts.flows(visits).to_rows()],
        stays=[StayModel(**asdict(each)) for each in counts.dwell_times(visits)],
    )


def _last_seen(found: PersonSummary) -> tuple[float, float, int]:
    """By the clock; people without one come last, those seen late in their video first."""
    clock = found.last_seen.timestamp() if found.last_seen else -math.inf
    return clock, found.end or 0.0, found.person.id
