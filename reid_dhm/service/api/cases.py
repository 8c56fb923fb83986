"""Cases of investigators: kept in the gallery, each seen by its owner and by administrators."""

from __future__ import annotations

import tempfile
import threading
from datetime import datetime
from pathlib import Path as FilePath
from shutil import make_archive
from typing import Annotated, Any

from fastapi import APIRouter, File, Path, Request, Response, UploadFile
from pydantic import BaseModel, Field

from reid_dhm.gallery.records import TrackletId
from reid_dhm.gallery.search.case_report import write_case_report
from reid_dhm.gallery.store import cases
from reid_dhm.gallery.store.cases import Case, Content, Mark
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.service.api.catalog import JPEG, JPEGResponse
from reid_dhm.service.api.requests import FilterModel, Id, PixelBox, Strict
from reid_dhm.service.api.uploads import decode_upload
from reid_dhm.service.auth import Role
from reid_dhm.service.errors import Busy, Problem, documented
from reid_dhm.service.frames.frames import encode
from reid_dhm.service.state import ActorDep, ServiceDep, requires

router = APIRouter(
    prefix="/api/cases",
    tags=["cases"],
    responses=documented(404),
    dependencies=[requires(Role.INVESTIGATOR)],
)

MAX_MARKS = 400
_EXPORTING = threading.BoundedSemaphore(1)  # clips are encoded on all cores
_PATIENCE = 10.0  # seconds that an export waits for another

Number = Annotated[int, Path(ge=1, lt=2**53, description="Number of the case.")]


class SavedSearch(FilterModel):
    """What was searched for, and the filter."""

    tracklets: list[Id] = Field([], max_length=200, description="Tracklets of the person.")
    video: str | None = Field(None, max_length=16, description="Of the frame with the box.")
    frame: int | None = Field(None, ge=0, lt=2**31)
    box: PixelBox | None = None
    top_k: int = Field(20, ge=1, le=500)
    min_similarity: float | None = Field(None, ge=-1, le=1)


class MarkModel(Strict):
    """What was said of one candidate."""

    tracklet: Id
    confirmed: bool = Field(description="Whether it shows the person.")
    similarity: float | None = Field(None, ge=-1, le=1, description="When this was said.")
    probability: float | None = Field(None, ge=0, le=1)
    note: str = Field("", max_length=2000)


class CaseContent(Strict):
    """What a user can change of a case."""

    title: str = Field(min_length=1, max_length=200)
    notes: str = Field("", max_length=20_000)
    search: SavedSearch = Field(default_factory=lambda: SavedSearch.model_validate({}))
    marks: list[MarkModel] = Field([], max_length=MAX_MARKS)

    def to_content(self) -> Content:
        """As the gallery keeps it."""
        marks = [
            Mark(TrackletId.parse(m.tracklet), m.confirmed, m.similarity, m.probability, m.note)
            for m in self.marks
        ]
        search = self.search.model_dump(mode="json", exclude_defaults=True)
        return Content(self.title, self.notes, search, marks)


class StoredMark(MarkModel):
    """A mark of a case, and who made it."""

    by: str
    at: datetime


class CaseModel(BaseModel):
    """A case."""

    id: int
    owner: str
    title: str
    notes: str
    search: dict[str, Any] = Field(description="As it was saved.")
    made: datetime
    changed: datetime
    images: list[int] = Field(description="Numbers of its images.")
    marks: list[StoredMark]

    @classmethod
    def of(cls, case: Case) -> CaseModel:
        """The model of a record."""
        names = ("id", "owner", "title", "notes", "search", "made", "changed")
        return cls(
            **{name: getattr(case, name) for name in names},
            images=list(case.images),
            marks=[
                StoredMark.model_construct(
                    tracklet=str(mark.tracklet),
                    confirmed=mark.confirmed,
                    similarity=mark.similarity,
                    probability=mark.probability,
                    note=mark.note,
                    by=mark.by or "",
                    at=mark.at or case.changed,
                )
                for mark in case.marks
            ],
        )


class DeletedCase(BaseModel):
    """A case that is no more."""

    id: int


class ZIPResponse(Response):
    """A report as an archive."""

    media_type = "application/zip"


@router.get("")
def list_cases(service: ServiceDep, actor: ActorDep, request: Request) -> list[CaseModel]:
    """The caller's cases, and for an administrator everybody's; the last changed first."""
    owner = None if request.state.role >= Role.ADMINISTRATOR else actor
    with service.folder() as gallery:
        return [CaseModel.of(case) for case in cases.cases(gallery, owner)]


@router.post("")
def make_case(service: ServiceDep, actor: ActorDep, content: CaseContent) -> CaseModel:
    """Save a new case; its images are sent afterwards."""
    with service.writing_in_folder() as gallery:
        number = cases.create(gallery, content.to_content(), (), actor)
        return CaseModel.of(cases.find_case(gallery, number))


@router.get("/{case}")
def show_case(service: ServiceDep, request: Request, case: Number) -> CaseModel:
    """A case."""
    with service.folder() as gallery:
        return CaseModel.of(_own(gallery, request, case))


@router.put("/{case}")
def save_case(
    service: ServiceDep, actor: ActorDep, request: Request, case: Number, content: CaseContent
) -> CaseModel:
    """Replace a case, but for its images; a mark that stays keeps who made it."""
    with service.writing_in_folder() as gallery:
        cases.update(gallery, _own(gallery, request, case), content.to_content(), actor)
        return CaseModel.of(cases.find_case(gallery, case))


@router.put("/{case}/pictures")
def save_images(
    service: ServiceDep,
    actor: ActorDep,
    request: Request,
    case: Number,
    images: Annotated[
        list[UploadFile],
        File(
            alias="pictures",
            min_length=1,
            max_length=8,
            description="Of the person: JPEG, PNG or WebP.",
        ),
    ],
) -> CaseModel:
    """Replace the images of a case."""
    jpegs = [
        encode(decode_upload(upload.file.read(), f"image {number}")[:, :, ::-1])
        for number, upload in enumerate(images, 1)
    ]
    with service.writing_in_folder() as gallery:
        cases.set_images(gallery, _own(gallery, request, case), jpegs, actor)
        return CaseModel.of(cases.find_case(gallery, case))


@router.get("/{case}/pictures/{number}", response_class=Response, responses=JPEG)
def case_image(
    service: ServiceDep,
    request: Request,
    case: Number,
    number: Annotated[int, Path(ge=1, lt=2**53)],
) -> JPEGResponse:
    """An image of a case."""
    with service.folder() as gallery:
        return JPEGResponse(cases.image(gallery, _own(gallery, request, case), number))


@router.get(
    "/{case}/report",
    response_class=Response,
    responses={
        200: {"content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}}}
    },
)
def export_case(
    service: ServiceDep, actor: ActorDep, request: Request, case: Number
) -> ZIPResponse:
    """What was confirmed, as an archive of the HTML report that a search writes; it is audited."""
    with service.folder() as gallery:
        found = _own(gallery, request, case)
        if not found.confirmed:
            raise Problem(422, "nothing is confirmed in this case: confirm candidates first")
        if not _EXPORTING.acquire(timeout=_PATIENCE):
            raise Busy("another report is being written: try again")
        try:
            data = _archive(gallery, found)
        finally:
            _EXPORTING.release()
    service.record("export", {"case": case, "tracklets": len(found.confirmed)}, actor)
    name = f'attachment; filename="case-{case}.zip"'
    return ZIPResponse(data, headers={"Content-Disposition": name})


@router.delete("/{case}", dependencies=[requires(Role.ADMINISTRATOR)])
def delete_case(service: ServiceDep, actor: ActorDep, case: Number) -> DeletedCase:
    """Delete a case with its images and notes; the gallery's footage stays."""
    with service.writing_in_folder() as gallery:
        cases.remove(gallery, cases.find_case(gallery, case), actor)
    service.overwrite()
    return DeletedCase(id=case)


def _own(gallery: GalleryStore, request: Request, number: int) -> Case:
    """A case of the caller, or anybody's for an administrator; others' do not exist."""
    found = cases.find_case(gallery, number)
    if found.owner != request.state.actor and request.state.role < Role.ADMINISTRATOR:
        raise Problem(404, f"the gallery has no case {number}")
    return found


def _archive(gallery: GalleryStore, case: Case) -> bytes:
    with tempfile.TemporaryDirectory() as scratch:
        folder = FilePath(scratch) / f"case-{case.id}"
        write_case_report(folder, gallery, case)
        made = make_archive(str(folder), "zip", scratch, folder.name)
        return FilePath(made).read_bytes()
