"""What a gallery holds: cameras, videos, tracklets, their crops, and frames of the videos."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any, TypeVar

import cv2
import numpy as np
from fastapi import APIRouter, Path, Query, Response

from reid_dhm.gallery.records import Tracklet, TrackletFilter
from reid_dhm.gallery.search.searcher import match_prior
from reid_dhm.service.api.requests import (
    Cursor,
    FrameNumber,
    Hash,
    Id,
    Name,
    OptionalName,
    OptionalTime,
    PageSize,
)
from reid_dhm.service.api.responses import (
    BoxModel,
    CameraModel,
    CropModel,
    GalleryModel,
    Page,
    SeenModel,
    TrackletDetail,
    TrackletModel,
    VideoModel,
)
from reid_dhm.service.errors import Problem, documented
from reid_dhm.service.frames.frame_times import frame_time
from reid_dhm.service.frames.frames import encode
from reid_dhm.service.state import ServiceDep

router = APIRouter(prefix="/api", tags=["gallery"], responses=documented())

T = TypeVar("T")

JPEG: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}},
    **documented(404),
}
_NOT_FOUND = documented(404)
_BOX_COLOUR = (40, 140, 255)  # BGR, seen on most backgrounds


class JPEGResponse(Response):
    """An image."""

    media_type = "image/jpeg"


@router.get("/gallery")
def gallery(service: ServiceDep) -> GalleryModel:
    """Totals of the gallery."""
    with service.gallery() as opened:
        videos = opened.videos()
        lengths = [video.position / video.fps for video in videos]
        tracklets = opened.count()
        timed = [(v.start_time, s) for v, s in zip(videos, lengths, strict=True) if v.start_time]
        return GalleryModel(
            name=service.name,
            tracklets=tracklets,
            cameras=len(opened.cameras()),
            videos=len(videos),
            start_time=min((start for start, _ in timed), default=None),
            end_time=max((start + timedelta(seconds=s) for start, s in timed), default=None),
            untimed=len(videos) - len(timed),
            offsets=sorted({start.isoformat()[-6:] for start, _ in timed}),
            seconds=max(lengths, default=0.0),
            model=opened.fingerprint,
            detects=service.detector is not None,
            prior=match_prior(tracklets) if service.models.thresholds(opened) else None,
        )


@router.get("/cameras")
def cameras(service: ServiceDep, after: Cursor = 0, limit: PageSize = 100) -> Page[CameraModel]:
    """Cameras, in the order they were added."""
    with service.gallery() as opened:
        rest = sorted((c for c in opened.cameras() if c.id > after), key=lambda c: c.id)
        videos, counts = opened.videos(), opened.counts()
    of = {c.name: [v.id for v in videos if v.camera == c.name] for c in rest[:limit]}
    items = [
        CameraModel(
            id=c.id,
            name=c.name,
            videos=len(of[c.name]),
            tracklets=sum(counts.get(video, 0) for video in of[c.name]),
        )
        for c in rest[:limit]
    ]
    return _page(items, [c.id for c in rest], limit)


@router.get("/videos", responses=_NOT_FOUND)
def videos(
    service: ServiceDep,
    camera: Annotated[OptionalName, Query()] = None,
    after: Cursor = 0,
    limit: PageSize = 100,
) -> Page[VideoModel]:
    """Videos, in the order they were first indexed."""
    with service.gallery() as opened:
        if camera is not None:
            opened.camera(camera)  # raises if there is none
        rest = [v for v in opened.videos() if v.id > after and camera in (None, v.camera)]
        counts = opened.counts()
    items = [VideoModel.of(video, counts.get(video.id, 0)) for video in rest[:limit]]
    return _page(items, [v.id for v in rest], limit)


@router.get("/videos/{video}", responses=_NOT_FOUND)
def video(service: ServiceDep, video: Annotated[Hash, Path()]) -> VideoModel:
    """A video."""
    with service.gallery() as opened:
        return VideoModel.of(opened.video(video), opened.count(TrackletFilter(videos=[video])))


@router.get("/tracklets", responses=_NOT_FOUND)
def tracklets(
    service: ServiceDep,
    camera: Annotated[list[Name], Query(max_length=100)] = [],  # noqa: B006 (FastAPI copies)
    video: Annotated[list[Hash], Query(max_length=100)] = [],  # noqa: B006
    since: Annotated[OptionalTime, Query(alias="from")] = None,
    until: Annotated[OptionalTime, Query(alias="to")] = None,
    after: Cursor = 0,
    limit: PageSize = 100,
) -> Page[TrackletModel]:
    """Tracklets, in the order they were stored; `from` and `to` bound their time."""
    where = TrackletFilter(cameras=camera, videos=video, after=since, before=until)
    with service.gallery() as opened:
        found = opened.tracklets(where, after, limit + 1)
    items = [TrackletModel(**TrackletModel.fields_of(tracklet)) for tracklet in found[:limit]]
    return _page(items, [tracklet.key for tracklet in found], limit)


@router.get("/tracklets/{tracklet}", responses=_NOT_FOUND)
def tracklet(service: ServiceDep, tracklet: Annotated[Id, Path()]) -> TrackletDetail:
    """A tracklet with all its boxes and crops."""
    with service.gallery() as opened:
        found = opened.tracklet(tracklet)
        boxes, crops = opened.boxes(found.key), opened.crops(found.key)
    return TrackletDetail(
        **TrackletModel.fields_of(found),
        boxes=[
            BoxModel(frame=frame, time=time, box=tuple(box))
            for frame, time, box in zip(
                boxes["frame"].tolist(), boxes["time"].tolist(), boxes["box"].tolist(), strict=True
            )
        ],
        crops=[
            CropModel(rank=rank, frame=c.frame, time=c.time, box=c.box, quality=c.quality)
            for rank, c in enumerate(crops)
        ],
    )


@router.get("/tracklets/{tracklet}/thumbnail", response_class=Response, responses=JPEG)
def thumbnail(service: ServiceDep, tracklet: Annotated[Id, Path()]) -> JPEGResponse:
    """The best crop of a tracklet."""
    with service.gallery() as opened:
        image = opened.thumbnail(opened.tracklet(tracklet).key)
    if image is None:  # deleted in between
        raise Problem(404, f"the gallery has no tracklet {tracklet}")
    return JPEGResponse(image)


@router.get("/tracklets/{tracklet}/crops/{rank}", response_class=Response, responses=JPEG)
def crop(
    service: ServiceDep,
    tracklet: Annotated[Id, Path()],
    rank: Annotated[int, Path(ge=0, lt=1000, description="0 is the best.")],
) -> JPEGResponse:
    """One of the best crops of a tracklet."""
    with service.gallery() as opened:
        crops = opened.crops(opened.tracklet(tracklet).key)
    if rank >= len(crops):
        raise Problem(404, f"tracklet {tracklet} has {len(crops)} images, counted from 0")
    return JPEGResponse(crops[rank].jpeg)


@router.get("/videos/{video}/frames/{frame}", response_class=Response, responses=JPEG)
def frame(
    service: ServiceDep,
    video: Annotated[Hash, Path()],
    frame: FrameNumber,
    boxes: Annotated[bool, Query(description="Draw the box of every person.")] = False,
) -> JPEGResponse:
    """A frame of a video, decoded from its source if that is available."""
    with service.gallery() as opened:
        found = opened.video(video)
        time = frame_time(opened, found, frame)
        seen = opened.seen_in_frame(video, frame) if boxes else []
    if not boxes:
        return JPEGResponse(service.frames.jpeg(found, frame, time))
    image = service.frames.image(found, frame, time)
    for person, box in seen:
        _draw(image, box, person)
    return JPEGResponse(encode(image))


@router.get("/videos/{video}/frames/{frame}/people", responses=_NOT_FOUND)
def people(
    service: ServiceDep, video: Annotated[Hash, Path()], frame: FrameNumber
) -> list[SeenModel]:
    """People in a frame, and their boxes."""
    with service.gallery() as opened:
        opened.video(video)
        seen = opened.seen_in_frame(video, frame)
    return [SeenModel(tracklet=str(t.id), person=t.person, box=box) for t, box in seen]


def _page(items: Sequence[T], keys: Sequence[int], limit: int) -> Page[T]:
    """A page of the first ``limit`` items; ``keys`` are those of the items and of more."""
    return Page(items=list(items), next=keys[limit - 1] if len(keys) > limit else None)


def _draw(image: np.ndarray, box: tuple[float, float, float, float], person: Tracklet) -> None:
    x1, y1, x2, y2 = (round(side) for side in box)
    cv2.rectangle(image, (x1, y1), (x2, y2), _BOX_COLOUR, 2)
    name = person.person or str(person.id.track)
    cv2.putText(image, name, (x1 + 3, y1 + 14), cv2.FONT_HERSHEY_SIMPLEX, 0.45, _BOX_COLOUR, 1)
