"""Who is who: people and their ways, found over all cameras and corrected by users."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query, Response

from reid_dhm.gallery.people.answers import counts
from reid_dhm.gallery.people.answers.presence import read_presence, summarise, summary_of
from reid_dhm.gallery.people.answers.route import read_route
from reid_dhm.gallery.people.linking.run import link_gallery
from reid_dhm.gallery.records import TrackletFilter
from reid_dhm.gallery.store import statements
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.store.people import find_person
from reid_dhm.service.api.catalog import JPEG, JPEGResponse
from reid_dhm.service.api.requests import (
    Cursor,
    Hash,
    LinkingRequest,
    LinkRequest,
    MergeRequest,
    Name,
    NameRequest,
    OptionalTime,
    PageSize,
    PersonNumber,
    SplitRequest,
    ids,
)
from reid_dhm.service.api.responses import (
    AppearanceModel,
    CountsModel,
    FlowModel,
    HourModel,
    LinkingResult,
    Page,
    PersonDetail,
    PersonModel,
    SplitResult,
    StayModel,
)
from reid_dhm.service.auth import Role
from reid_dhm.service.errors import Problem, documented
from reid_dhm.service.state import ActorDep, ServiceDep, requires

router = APIRouter(prefix="/api", tags=["people"], responses=documented(404))

_SAYS = [requires(Role.INVESTIGATOR)]


@router.get("/people")
def list_people(
    service: ServiceDep,
    camera: Annotated[list[Name], Query(max_length=100)] = [],  # noqa: B006 (FastAPI copies)
    video: Annotated[list[Hash], Query(max_length=100)] = [],  # noqa: B006
    since: Annotated[OptionalTime, Query(alias="from")] = None,
    until: Annotated[OptionalTime, Query(alias="to")] = None,
    min_cameras: Annotated[int, Query(ge=1, le=1000, description="Least number of cameras.")] = 1,
    after: Cursor = 0,
    limit: PageSize = 100,
) -> Page[PersonModel]:
    """People whose tracklets satisfy every condition, by number."""
    where = TrackletFilter(cameras=camera, videos=video, after=since, before=until)
    with service.gallery() as gallery:
        found = [p for p in summarise(gallery, where, min_cameras) if p.person.id > after]
    items = [PersonModel.of(each) for each in found[:limit]]
    return Page(items=items, next=items[-1].id if len(found) > limit else None)


@router.get("/people/{person}")
def show_person(service: ServiceDep, person: PersonNumber) -> PersonDetail:
    """A person's appearances over all cameras, by time."""
    with service.gallery() as gallery:
        route = read_route(gallery, find_person(gallery, person))
    return PersonDetail(
        id=person,
        name=route.person.name,
        appearances=[AppearanceModel.of(each) for each in route.appearances],
    )


@router.get("/people/{person}/portrait", response_class=Response, responses=JPEG)
def portrait(service: ServiceDep, person: PersonNumber) -> JPEGResponse:
    """The best crop of a person's longest tracklet."""
    with service.gallery() as gallery:
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
    with service.gallery() as gallery:
        presence = read_presence(gallery, where)
    visits = presence.visits(gap)
    return CountsModel(
        hours=[HourModel(**asdict(each)) for each in counts.hour_counts(presence)],
        flows=[FlowModel(**way) for way in counts.flows(visits).to_rows()],
        stays=[StayModel(**asdict(each)) for each in counts.dwell_times(visits)],
    )


@router.post("/linking", dependencies=_SAYS)
def find_people(service: ServiceDep, actor: ActorDep, request: LinkingRequest) -> LinkingResult:
    """Find the people of all tracklets, true to what users said."""
    with service.linking(), service.gallery() as gallery:
        times = {
            (gallery.camera(way.cameras[0]).id, gallery.camera(way.cameras[1]).id): way.seconds
            for way in request.travel
        }
        done = link_gallery(gallery, times, actor, request.new_only)
    return LinkingResult(**asdict(done))


@router.post("/links", dependencies=_SAYS)
def link_tracklets(service: ServiceDep, actor: ActorDep, request: LinkRequest) -> PersonModel:
    """Record that tracklets are one person."""
    with service.writing() as gallery:
        number = statements.link(gallery, ids(request.tracklets), actor)
        return _summary(gallery, number)


@router.post("/merges", dependencies=_SAYS)
def merge_people(service: ServiceDep, actor: ActorDep, request: MergeRequest) -> PersonModel:
    """Record that people are one."""
    with service.writing() as gallery:
        found = [find_person(gallery, number) for number in request.people]
        return _summary(gallery, statements.merge(gallery, found, request.name, actor))


@router.post("/people/{person}/split", dependencies=_SAYS)
def split_person(
    service: ServiceDep, actor: ActorDep, person: PersonNumber, request: SplitRequest
) -> SplitResult:
    """Record that tracklets are not this person; they become a new one."""
    with service.writing() as gallery:
        found = find_person(gallery, person)
        number = statements.split(gallery, found, ids(request.tracklets), actor)
        return SplitResult(new=_summary(gallery, number), left=_summary(gallery, person))


@router.post("/people/{person}/name", dependencies=_SAYS)
def name_person(
    service: ServiceDep, actor: ActorDep, person: PersonNumber, request: NameRequest
) -> PersonModel:
    """Give a person a name, or take it away."""
    with service.writing() as gallery:
        statements.name(gallery, find_person(gallery, person), request.name, actor)
        return _summary(gallery, person)


def _summary(gallery: GalleryStore, number: int) -> PersonModel:
    return PersonModel.of(summary_of(gallery, number))
