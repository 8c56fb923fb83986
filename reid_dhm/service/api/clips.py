"""Clips of tracklets as video files, with boxes drawn; each is audited."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path as FilePath
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Response

from reid_dhm.errors import InputError
from reid_dhm.gallery.search.clips import write_whole_clip
from reid_dhm.service.api.requests import Id
from reid_dhm.service.errors import Busy, Problem, documented
from reid_dhm.service.state import ActorDep, ServiceDep

router = APIRouter(prefix="/api", tags=["gallery"], responses=documented(404))

WEBM: dict[int | str, dict[str, Any]] = {
    200: {"content": {"video/webm": {"schema": {"type": "string", "format": "binary"}}}}
}

_ENCODING = threading.BoundedSemaphore(1)  # it takes all cores
_PATIENCE = 10.0  # seconds that a clip waits for another


class WebMResponse(Response):
    """A video."""

    media_type = "video/webm"


@router.get("/tracklets/{tracklet}/clip", response_class=Response, responses=WEBM)
def clip(
    service: ServiceDep,
    actor: ActorDep,
    tracklet: Annotated[Id, Path()],
    boxes: Annotated[Literal["one", "all"], Query(description="Whose boxes are drawn.")] = "one",
) -> WebMResponse:
    """A tracklet from entering the view until leaving it, at most two minutes; it is audited."""
    with service.gallery() as gallery, tempfile.TemporaryDirectory() as scratch:
        found, path = gallery.tracklet(tracklet), FilePath(scratch) / "clip.webm"
        if not _ENCODING.acquire(timeout=_PATIENCE):
            raise Busy("another clip is being encoded: try again")
        try:
            write_whole_clip(gallery, found, path, everybody=boxes == "all")
        except InputError as error:
            detail = str(error).replace(found.source, FilePath(found.source).name)
            raise Problem(404, f"no clip: {detail}") from None
        finally:
            _ENCODING.release()
        data = path.read_bytes()
    service.record("clip", {"tracklet": tracklet, "boxes": boxes}, actor)
    name = f'attachment; filename="{tracklet}.webm"'
    return WebMResponse(data, headers={"Content-Disposition": name})
