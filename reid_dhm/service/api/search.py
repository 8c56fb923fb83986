"""Searches by images, by a box in a frame, or by tracklets; refined by feedback on candidates."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, NamedTuple

import numpy as np
from fastapi import APIRouter, File, Form, UploadFile
from numpy.typing import NDArray

from reid_dhm.errors import InputError
from reid_dhm.gallery.records import Box
from reid_dhm.gallery.search.query_image import QueryCrop, as_box
from reid_dhm.gallery.search.request import SearchRequest
from reid_dhm.service.api.requests import (
    MAX_CANDIDATES,
    MAX_TRACKLETS,
    FrameSearch,
    Hash,
    Id,
    Name,
    OptionalSimilarity,
    OptionalTime,
    SearchOptions,
    TrackletSearch,
    ids,
)
from reid_dhm.service.api.responses import CandidateModel, SearchResult
from reid_dhm.service.api.uploads import decode_upload
from reid_dhm.service.errors import Busy, Problem, documented
from reid_dhm.service.frames.frame_times import frame_time
from reid_dhm.service.models import ServedModel
from reid_dhm.service.state import AbandonedDep, ActorDep, Service, ServiceDep

router = APIRouter(prefix="/api/search", tags=["search"], responses=documented(404))

MAX_IMAGES = 8

# Decoding an image of the largest size takes 200 MB and more.
_DECODING = threading.BoundedSemaphore(2)
_PATIENCE = 10.0  # seconds that an image waits to be decoded


@router.post("/pictures")
def by_images(
    service: ServiceDep,
    actor: ActorDep,
    abandoned: AbandonedDep,
    images: Annotated[
        list[UploadFile],
        File(
            alias="pictures",
            min_length=1,
            max_length=MAX_IMAGES,
            description="One person: JPEG, PNG or WebP.",
        ),
    ],
    boxes: Annotated[
        list[str],
        Form(
            max_length=MAX_IMAGES,
            description="Box of the person in each image, `x1,y1,x2,y2` in pixels; empty to have "
            "the service find the person (of several, the answer is 422 with their boxes), or to "
            "use an image whole that is as narrow as a person. No boxes: all empty.",
        ),
    ] = [],  # noqa: B006 (FastAPI copies)
    top_k: Annotated[int, Form(ge=1, le=MAX_CANDIDATES)] = 20,
    cameras: Annotated[list[Name], Form(max_length=100)] = [],  # noqa: B006
    videos: Annotated[list[Hash], Form(max_length=100)] = [],  # noqa: B006
    after: Annotated[OptionalTime, Form()] = None,
    before: Annotated[OptionalTime, Form()] = None,
    confirmed: Annotated[list[Id], Form(max_length=MAX_TRACKLETS)] = [],  # noqa: B006
    rejected: Annotated[list[Id], Form(max_length=MAX_TRACKLETS)] = [],  # noqa: B006
    min_similarity: Annotated[OptionalSimilarity, Form()] = None,
) -> SearchResult:
    """Search for the person in these images."""
    if boxes and len(boxes) != len(images):
        raise Problem(
            422, f"{len(boxes)} boxes for {len(images)} images: send one for each, or none"
        )
    options = SearchOptions(
        top_k=top_k,
        cameras=cameras,
        videos=videos,
        after=after,
        before=before,
        confirmed=confirmed,
        rejected=rejected,
        min_similarity=min_similarity,
    )
    digests: list[str] = []
    crops: list[QueryCrop] = []
    with _audited(service, actor, options) as entry:
        entry |= {"pictures": digests, "boxes": boxes}
        for number, upload in enumerate(images, 1):
            data = upload.file.read()  # one at a time: together they may be large
            digests.append(hashlib.sha256(data).hexdigest())
            box = as_box(boxes[number - 1]) if boxes and boxes[number - 1] else None
            crops.append(_crop(service, data, box, f"image {number}"))
        pixels, found = [crop.pixels for crop in crops], [crop.box for crop in crops]
        return _search(service, options, _embed(service, pixels, abandoned), entry, found)


@router.post("/frame")
def by_frame(
    service: ServiceDep, actor: ActorDep, abandoned: AbandonedDep, options: FrameSearch
) -> SearchResult:
    """Search for the person in a box of a video's frame."""
    with _audited(service, actor, options) as entry:
        with service.gallery() as gallery:
            video = gallery.video(options.video)
            time = frame_time(gallery, video, options.frame)
        # The same image on which the box was drawn.
        frame = service.frames.image(video, options.frame, time)
        crop = service.crop(frame[:, :, ::-1], options.box, f"frame {options.frame}")
        return _search(service, options, _embed(service, [crop.pixels], abandoned), entry)


@router.post("/tracklets")
def by_tracklets(service: ServiceDep, actor: ActorDep, options: TrackletSearch) -> SearchResult:
    """Search for the person in these tracklets; they are not returned."""
    with _audited(service, actor, options) as entry:
        return _search(service, options, _BY_TRACKLETS, entry)


def _crop(service: Service, data: bytes, box: Box | None, name: str) -> QueryCrop:
    """The person in an uploaded image."""
    if not _DECODING.acquire(timeout=_PATIENCE):
        raise Busy("other images are being decoded: try again")
    try:
        return service.crop(decode_upload(data, name), box, name)
    finally:
        _DECODING.release()


@contextmanager
def _audited(service: Service, actor: str, options: SearchOptions) -> Iterator[dict[str, Any]]:
    """Write a search into the audit log; one that cannot be written is not answered.

    Yields the entry, for more to be added. The entry of a failed search gives the reason; a search
    at a busy moment has none, as it is sent again.
    """
    entry = options.model_dump(mode="json", exclude_defaults=True)
    try:
        yield entry
    except Busy:
        raise
    except (InputError, Problem) as error:
        service.record("search", {**entry, "failed": str(error)}, actor)
        raise
    service.record("search", entry, actor)


class _Query(NamedTuple):
    """(N, D) embeddings, and the model that made them."""

    embeddings: NDArray[np.float32] | None
    model: ServedModel | None


_BY_TRACKLETS = _Query(None, None)


def _embed(
    service: Service, images: Sequence[NDArray[np.uint8]], abandoned: Callable[[], bool]
) -> _Query:
    model = service.model()
    return _Query(model.batcher(images, abandoned), model)


def _search(
    service: Service,
    options: SearchOptions,
    query: _Query,
    entry: dict[str, Any],
    boxes: Sequence[Box | None] = (),
) -> SearchResult:
    """Search by embeddings, or by tracklets alone."""
    request = SearchRequest(
        where=options.to_filter(),
        tracklets=ids(options.tracklets) if isinstance(options, TrackletSearch) else [],
        confirmed=ids(options.confirmed),
        rejected=ids(options.rejected),
        top_k=options.top_k,
        min_similarity=options.min_similarity,
    )
    with service.searcher(query.model) as searcher:
        candidates = searcher.run(request, query.embeddings)
        recall, basis = service.index.opened(searcher.gallery).recall, searcher.basis
    entry["hits"] = len(candidates)
    return SearchResult(
        hits=[CandidateModel.of(candidate) for candidate in candidates],
        boxes=list(boxes),
        recall=recall,
        basis=basis,
    )
