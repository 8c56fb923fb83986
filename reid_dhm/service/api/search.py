"""Searching: by images, by a box in a frame, by tracklets; refined by right and wrong hits."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, File, Form, UploadFile
from numpy.typing import NDArray

from reid_dhm.errors import InputError
from reid_dhm.gallery.records import Box
from reid_dhm.gallery.search.query_image import QueryCrop
from reid_dhm.gallery.search.request import SearchRequest
from reid_dhm.service.api.catalog import find_video
from reid_dhm.service.api.requests import (
    MAX_HITS,
    MAX_TRACKLETS,
    FrameQuestion,
    Hash,
    Id,
    Moment,
    Name,
    Question,
    TrackletQuestion,
    ids,
)
from reid_dhm.service.api.responses import CandidateModel, SearchResult
from reid_dhm.service.api.uploads import decode
from reid_dhm.service.errors import Busy, Problem, documented
from reid_dhm.service.frames.frame_times import moment_of
from reid_dhm.service.state import ActorDep, Service, ServiceDep

router = APIRouter(prefix="/api/search", tags=["search"], responses=documented())

MAX_IMAGES = 8

# An image of the largest size takes 100 MB and more while it is decoded.
_DECODING = threading.BoundedSemaphore(2)
_PATIENCE = 10.0  # seconds that an image waits for it


@router.post("/pictures")
def by_images(
    service: ServiceDep,
    actor: ActorDep,
    images: Annotated[
        list[UploadFile],
        File(min_length=1, max_length=MAX_IMAGES, description="One person: JPEG, PNG or WebP."),
    ],
    boxes: Annotated[
        list[str],
        Form(
            max_length=MAX_IMAGES,
            description="Where the person is in each image, as `x1,y1,x2,y2` in pixels; empty "
            "where the service shall find the person, or where nothing else is to be seen. "
            "None at all says so for all images.",
        ),
    ] = [],  # noqa: B006 (FastAPI copies)
    top_k: Annotated[int, Form(ge=1, le=MAX_HITS)] = 20,
    cameras: Annotated[list[Name], Form(max_length=100)] = [],  # noqa: B006
    videos: Annotated[list[Hash], Form(max_length=100)] = [],  # noqa: B006
    after: Annotated[Moment | None, Form()] = None,
    before: Annotated[Moment | None, Form()] = None,
    confirmed: Annotated[list[Id], Form(max_length=MAX_TRACKLETS)] = [],  # noqa: B006
    rejected: Annotated[list[Id], Form(max_length=MAX_TRACKLETS)] = [],  # noqa: B006
    min_similarity: Annotated[float | None, Form(ge=-1, le=1)] = None,
) -> SearchResult:
    """Who looks like the person in these images."""
    if boxes and len(boxes) != len(images):
        raise Problem(422, f"there are {len(boxes)} boxes for {len(images)} images")
    question = Question(
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
    with _written_down(service, actor, question) as told:
        told |= {"pictures": digests, "boxes": boxes}
        for number, upload in enumerate(images, 1):
            data = upload.file.read()  # one at a time: together they may be large
            digests.append(hashlib.sha256(data).hexdigest())
            box = _sides(boxes[number - 1]) if boxes else None
            crops.append(_crop(service, data, box, f"image {number}"))
        embeddings = service.batcher([crop.pixels for crop in crops])
        return _search(service, question, embeddings, told, [crop.box for crop in crops])


@router.post("/frame", responses=documented(404))
def by_frame(service: ServiceDep, actor: ActorDep, question: FrameQuestion) -> SearchResult:
    """Who looks like the person in a box of a video's frame."""
    with _written_down(service, actor, question) as told:
        with service.gallery() as gallery:
            video = find_video(gallery, question.video)
            moment = moment_of(gallery, video, question.frame)
        # The very image on which the box was drawn.
        frame = service.frames.image(video, question.frame, moment)
        crop = service.crop(frame[:, :, ::-1], question.box, f"frame {question.frame}")
        return _search(service, question, service.batcher([crop.pixels]), told)


@router.post("/tracklets")
def by_tracklets(service: ServiceDep, actor: ActorDep, question: TrackletQuestion) -> SearchResult:
    """Who looks like the person whom these tracklets show; they themselves are left out."""
    with _written_down(service, actor, question) as told:
        return _search(service, question, None, told)


def _crop(service: Service, data: bytes, box: Box | None, name: str) -> QueryCrop:
    """The person in an uploaded image."""
    if not _DECODING.acquire(timeout=_PATIENCE):
        raise Busy("other images are being decoded: try again")
    try:
        return service.crop(decode(data, name), box, name)
    finally:
        _DECODING.release()


@contextmanager
def _written_down(service: Service, actor: str, question: Question) -> Iterator[dict[str, Any]]:
    """Write into the audit log who asked what; a search that cannot be is not answered.

    Gives what will be written, for more to be added. Of a search that fails the log says why; one
    that came at a busy moment is asked again.
    """
    told = question.model_dump(mode="json", exclude_defaults=True)
    try:
        yield told
    except Busy:
        raise
    except (InputError, Problem) as error:
        service.record("search", {**told, "failed": str(error)}, actor)
        raise
    service.record("search", told, actor)


def _search(
    service: Service,
    question: Question,
    queries: NDArray[np.float32] | None,
    told: dict[str, Any],
    boxes: Sequence[Box | None] = (),
) -> SearchResult:
    """Search with embeddings; None for a question that names tracklets."""
    request = SearchRequest(
        where=question.where(),
        tracklets=ids(question.tracklets) if isinstance(question, TrackletQuestion) else [],
        confirmed=ids(question.confirmed),
        rejected=ids(question.rejected),
        top_k=question.top_k,
        min_similarity=question.min_similarity,
    )
    with service.searcher() as searcher:
        candidates = searcher.run(request, queries)
        recall = service.index.opened(searcher.gallery).recall
    told["hits"] = len(candidates)
    return SearchResult(
        hits=[CandidateModel.of(candidate) for candidate in candidates],
        boxes=list(boxes),
        recall=recall,
    )


def _sides(text: str) -> Box | None:
    if not text:
        return None
    try:
        x1, y1, x2, y2 = (float(side) for side in text.split(","))
    except ValueError:
        raise Problem(422, f"{text[:50]!r} is no box: give x1,y1,x2,y2 in pixels") from None
    if not (-1e6 < x1 < x2 < 1e6 and -1e6 < y1 < y2 < 1e6):
        raise Problem(422, f"{text[:50]!r} is no box: x1 is to be less than x2, y1 less than y2")
    return x1, y1, x2, y2
