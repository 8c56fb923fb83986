"""What users say of people, and what to ask them: everything said is audited and can be undone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query

from reid_dhm.gallery.people.answers.presence import summary_of
from reid_dhm.gallery.people.linking.questions import read_questions
from reid_dhm.gallery.people.linking.run import link_gallery
from reid_dhm.gallery.store import changes, statements
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.store.people import find_person
from reid_dhm.service.api.people_responses import (
    ChangeModel,
    LinkingResult,
    PersonModel,
    QuestionModel,
    SaidPerson,
    SplitResult,
)
from reid_dhm.service.api.requests import (
    DifferenceRequest,
    HideRequest,
    LabelRequest,
    LinkingRequest,
    LinkRequest,
    MergeRequest,
    NameRequest,
    PersonNumber,
    SplitRequest,
    UndoRequest,
    ids,
)
from reid_dhm.service.auth import Role
from reid_dhm.service.errors import documented
from reid_dhm.service.state import ActorDep, Service, ServiceDep, requires

router = APIRouter(
    prefix="/api",
    tags=["people"],
    responses=documented(404),
    dependencies=[requires(Role.INVESTIGATOR)],
)


@router.post("/linking")
def find_people(service: ServiceDep, actor: ActorDep, request: LinkingRequest) -> LinkingResult:
    """Find the people of all tracklets, true to what users said."""
    times = {way.cameras: way.seconds for way in request.travel}
    with service.linking(), service.folder() as gallery:
        done = link_gallery(gallery, times, actor, request.new_only)
    return LinkingResult(**asdict(done))


@router.get("/questions")
def questions(
    service: ServiceDep,
    limit: Annotated[int, Query(ge=1, le=100, description="Most pairs.")] = 20,
) -> list[QuestionModel]:
    """Pairs of people who might be one, the most useful to ask about first."""
    with service.folder() as gallery, gallery.snapshot():
        return [
            QuestionModel(
                first=_summary(gallery, asked.first),
                second=_summary(gallery, asked.second),
                similarity=asked.similarity,
            )
            for asked in read_questions(gallery, limit)
        ]


@router.post("/links")
def link_tracklets(service: ServiceDep, actor: ActorDep, request: LinkRequest) -> SaidPerson:
    """Record that tracklets are one person."""
    with _saying(service) as gallery:
        return _said(gallery, actor, statements.link(gallery, ids(request.tracklets), actor))


@router.post("/merges")
def merge_people(service: ServiceDep, actor: ActorDep, request: MergeRequest) -> SaidPerson:
    """Record that people are one."""
    with _saying(service) as gallery:
        found = [find_person(gallery, number) for number in request.people]
        return _said(gallery, actor, statements.merge(gallery, found, request.name, actor))


@router.post("/differences")
def tell_apart(service: ServiceDep, actor: ActorDep, request: DifferenceRequest) -> ChangeModel:
    """Record that two people are not one; merging them withdraws it."""
    with _saying(service) as gallery:
        first, second = (find_person(gallery, number) for number in request.people)
        statements.tell_apart(gallery, first, second, actor)
        return ChangeModel.of(_own_change(gallery, actor))


@router.post("/labels")
def label_tracklets(service: ServiceDep, actor: ActorDep, request: LabelRequest) -> SaidPerson:
    """Confirm these tracklets, and no others, as the person of a name, known or new."""
    with _saying(service) as gallery:
        statements.label(gallery, ids(request.tracklets), request.name, actor)
        return _said(gallery, actor, find_person(gallery, request.name).id)


@router.post("/people/{person}/split")
def split_person(
    service: ServiceDep, actor: ActorDep, person: PersonNumber, request: SplitRequest
) -> SplitResult:
    """Record that tracklets are not this person; they become a new one."""
    with _saying(service) as gallery:
        found = find_person(gallery, person)
        number = statements.split(gallery, found, ids(request.tracklets), actor)
        change = _own_change(gallery, actor).id
        new, left = _summary(gallery, number), _summary(gallery, person)
    return SplitResult(new=new, left=left, change=change)


@router.post("/people/{person}/name")
def name_person(
    service: ServiceDep, actor: ActorDep, person: PersonNumber, request: NameRequest
) -> SaidPerson:
    """Give a person a name, or take it away."""
    with _saying(service) as gallery:
        statements.name(gallery, find_person(gallery, person), request.name, actor)
        return _said(gallery, actor, person)


@router.post("/people/{person}/hide")
def hide_person(
    service: ServiceDep, actor: ActorDep, person: PersonNumber, request: HideRequest
) -> SaidPerson:
    """Leave a person out of lists, or show the person again; nothing is deleted."""
    with _saying(service) as gallery:
        statements.hide(gallery, find_person(gallery, person), request.hidden, actor)
        return _said(gallery, actor, person)


@router.get("/changes")
def list_changes(
    service: ServiceDep,
    limit: Annotated[int, Query(ge=1, le=200, description="Most changes.")] = 20,
) -> list[ChangeModel]:
    """Statements that can be undone, the newest first."""
    with service.folder() as gallery:
        return [ChangeModel.of(each) for each in changes.latest(gallery, limit=limit)]


@router.post("/undo")
def undo(service: ServiceDep, actor: ActorDep, request: UndoRequest) -> ChangeModel:
    """Take a statement back, exactly; undoing the answer's `change` says it again."""
    with _saying(service) as gallery:
        changes.undo(gallery, request.change, actor)
        return ChangeModel.of(_own_change(gallery, actor))


@contextmanager
def _saying(service: Service) -> Iterator[GalleryStore]:
    """One transaction for a statement and its answer: the latest change within is its own."""
    with service.writing_in_folder() as gallery, gallery.writing():
        yield gallery


def _said(gallery: GalleryStore, actor: str, number: int) -> SaidPerson:
    """The person after the actor's latest statement, within its transaction."""
    change = _own_change(gallery, actor).id
    return SaidPerson(**_summary(gallery, number).model_dump(), change=change)


def _summary(gallery: GalleryStore, number: int) -> PersonModel:
    return PersonModel.of(summary_of(gallery, number))


def _own_change(gallery: GalleryStore, actor: str) -> changes.Change:
    """The change of the statement that was just made, within :func:`_saying`."""
    return changes.latest(gallery, actor, 1)[0]
