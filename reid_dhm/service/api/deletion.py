"""Permanent deletion of people, videos, cameras and time spans; all of it is audited."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request

from reid_dhm.gallery import opening
from reid_dhm.gallery.records import TrackletFilter, TrackletId
from reid_dhm.gallery.store.people import find_person
from reid_dhm.service.api.requests import (
    MAX_TRACKLETS,
    DeletionRequest,
    Hash,
    Id,
    PersonNumber,
)
from reid_dhm.service.api.responses import DeletionResult
from reid_dhm.service.auth import Role
from reid_dhm.service.errors import Problem, documented
from reid_dhm.service.state import ActorDep, Service, ServiceDep, requires

router = APIRouter(
    prefix="/api",
    tags=["deletion"],
    responses=documented(404),
    dependencies=[requires(Role.ADMINISTRATOR)],
)


@router.delete("/tracklets/{tracklet}")
def delete_tracklet(
    service: ServiceDep, actor: ActorDep, tracklet: Annotated[Id, Path()]
) -> DeletionResult:
    """Delete a tracklet."""
    id = TrackletId.parse(tracklet)
    with service.gallery() as gallery:
        gallery.tracklet(id)  # raises if there is none
    where = TrackletFilter(tracklets=[id])
    return _delete(service, actor, {"tracklet": tracklet}, where)


@router.delete("/videos/{video}")
def delete_video(
    service: ServiceDep, actor: ActorDep, video: Annotated[Hash, Path()]
) -> DeletionResult:
    """Delete a video and everybody in it."""
    with service.gallery() as gallery:
        found = gallery.video(video)
    detail = {"video": video, "camera": found.camera, "source": found.source}
    return _delete(service, actor, detail, TrackletFilter(videos=[video]), whole=True)


@router.delete("/cameras/{camera}")
def delete_camera(
    service: ServiceDep, actor: ActorDep, camera: Annotated[int, Path(ge=1, lt=2**53)]
) -> DeletionResult:
    """Delete a camera, its videos and everybody in them."""
    with service.gallery() as gallery:
        name = next((found.name for found in gallery.cameras() if found.id == camera), None)
    if name is None:
        raise Problem(404, f"the gallery has no camera {camera}")
    where = TrackletFilter(cameras=[name])
    return _delete(service, actor, {"camera": name}, where, whole=True)


@router.delete("/people/{person}")
def delete_person(service: ServiceDep, actor: ActorDep, person: PersonNumber) -> DeletionResult:
    """Delete a person: all tracklets, the name, and what was said of them."""
    with service.gallery() as gallery:
        found = find_person(gallery, person)
    where = TrackletFilter(person=found.id)
    return _delete(service, actor, {"person": person}, where)


@router.post("/deletions")
def delete_where(
    service: ServiceDep, actor: ActorDep, request: DeletionRequest, http: Request
) -> DeletionResult:
    """Delete all tracklets that satisfy every condition given; videos and cameras stay."""
    if http.query_params:  # a dry_run there would be ignored
        raise Problem(
            422, "query parameters are not accepted: put conditions and dry_run into the body"
        )
    where = request.to_filter(request.tracklets)
    if not where:
        raise Problem(422, "no condition: name tracklets, a camera, a video or a time")
    if request.dry_run:
        with service.gallery() as gallery:
            count = len(opening.select(gallery, where))
        return DeletionResult(tracklets=count, dry_run=True)
    detail = request.model_dump(mode="json", exclude_defaults=True)
    detail["tracklets"] = detail.get("tracklets", [])[:MAX_TRACKLETS]
    return _delete(service, actor, detail, where)


def _delete(
    service: Service,
    actor: str,
    detail: dict[str, Any],
    where: TrackletFilter,
    whole: bool = False,
) -> DeletionResult:
    with service.writing() as gallery:
        done, clean = opening.delete_logged(gallery, where, detail, actor, whole)
    service.frames.forget()
    return DeletionResult(tracklets=done.count, traces=not (service.overwrite() and clean))
