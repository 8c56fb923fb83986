"""Cases: what somebody searched for, which candidates show the person and which do not, and notes.

A case belongs to whoever made it. Deleting everybody whom it confirms deletes the case, with its
images and notes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from reid_dhm.errors import InputError, NotFoundError
from reid_dhm.gallery.records import TrackletId
from reid_dhm.gallery.store import audit
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.store.queries import checked

CASES = "SELECT id, owner, title, notes, search, made, changed FROM cases"
MARKS = (
    "SELECT tracklet, confirmed, similarity, probability, note, said_by, said_at FROM case_marks"
)

# Cases that confirm somebody; those among them of whom nobody is left go with a deletion.
CONFIRMING = "SELECT DISTINCT of_case FROM case_marks WHERE confirmed"


@dataclass(frozen=True, slots=True)
class Mark:
    """What was said of one candidate.

    Attributes:
        tracklet: which.
        confirmed: whether it shows the person; False if it shows somebody else.
        similarity: that it had when this was said; None if unknown.
        probability: likewise, that both are one person.
        note: of the user.
        by, at: who said it, and when (UTC); None of a mark that is yet to be stored.
    """

    tracklet: TrackletId
    confirmed: bool
    similarity: float | None = None
    probability: float | None = None
    note: str = ""
    by: str | None = None
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """A case.

    Attributes:
        id: number, never reused.
        owner: who made it.
        title, notes: of the owner.
        search: what was searched for, and the filter, as JSON-ready values of the caller.
        made, changed: when (UTC).
        images: numbers of its images, in order.
        marks: by tracklet.
    """

    id: int
    owner: str
    title: str
    notes: str
    search: dict[str, Any]
    made: datetime
    changed: datetime
    images: Sequence[int] = ()
    marks: Sequence[Mark] = ()

    @property
    def confirmed(self) -> list[Mark]:
        """What shows the person."""
        return [mark for mark in self.marks if mark.confirmed]


@dataclass(frozen=True, slots=True)
class Content:
    """What a user can change of a case; attributes as of :class:`Case`."""

    title: str
    notes: str
    search: dict[str, Any]
    marks: Sequence[Mark] = ()


def create(
    gallery: GalleryStore, content: Content, images: Sequence[bytes], actor: str | None = None
) -> int:
    """Store a new case, with an audit entry.

    Args:
        gallery: which.
        content: of the case.
        images: JPEGs of the person.
        actor: whose case; the user of this process by default.

    Returns:
        Number of the case.

    Raises:
        InputError: no title.
        NotFoundError: an unknown tracklet.
    """
    by, at = audit.who_and_when(actor)
    with gallery.writing() as db:
        added = db.execute(
            "INSERT INTO cases (owner, title, notes, search, made, changed) "
            "VALUES (?, '', '', '{}', ?, ?)",
            (by, at, at),
        )
        number = int(added.lastrowid)
        _add_images(db, number, images)
        _write(gallery, db, number, content, (by, at))
        audit.insert(db, "case", {"case": number, "made": True}, by, at)
    return number


def update(gallery: GalleryStore, case: Case, content: Content, actor: str | None = None) -> None:
    """Replace the content of a case, but for its images; what was said earlier keeps its time.

    Raises:
        InputError: no title.
        NotFoundError: an unknown tracklet, or the case is gone.
    """
    said = audit.who_and_when(actor)
    with gallery.writing() as db:
        _write(gallery, db, case.id, content, said)
        marks = sum(mark.confirmed for mark in content.marks)
        audit.insert(db, "case", {"case": case.id, "confirmed": marks}, *said)


def set_images(
    gallery: GalleryStore, case: Case, images: Sequence[bytes], actor: str | None = None
) -> None:
    """Replace the images of a case.

    Raises:
        NotFoundError: the case is gone.
    """
    said = audit.who_and_when(actor)
    with gallery.writing() as db:
        sql = "UPDATE cases SET changed = ? WHERE id = ?"
        if not db.execute(sql, (said[1], case.id)).rowcount:
            raise NotFoundError(f"{gallery.folder} has no case {case.id}")
        db.execute("DELETE FROM case_images WHERE of_case = ?", (case.id,))
        _add_images(db, case.id, images)
        audit.insert(db, "case", {"case": case.id, "images": len(images)}, *said)


def remove(gallery: GalleryStore, case: Case, actor: str | None = None) -> None:
    """Delete a case, its images and notes; the gallery's footage stays."""
    said = audit.who_and_when(actor)
    with gallery.writing() as db:
        db.execute("DELETE FROM cases WHERE id = ?", (case.id,))
        audit.insert(db, "case", {"case": case.id, "deleted": True}, *said)


def cases(gallery: GalleryStore, owner: str | None = None) -> list[Case]:
    """The cases of an owner, or of everybody, the last changed first."""
    sql = CASES + " WHERE owner = coalesce(?, owner) ORDER BY changed DESC, id DESC"
    with gallery.snapshot() as db:
        rows = db.execute(sql, (owner,)).fetchall()
        return [_complete(gallery, case_row(row)) for row in rows]


def find_case(gallery: GalleryStore, number: int) -> Case:
    """The case of a number.

    Raises:
        NotFoundError: there is none.
    """
    with gallery.snapshot() as db:
        row = db.execute(CASES + " WHERE id = ?", (number,)).fetchone()
        if row is not None:
            return _complete(gallery, case_row(row))
    raise NotFoundError(f"{gallery.folder} has no case {number}")


def image(gallery: GalleryStore, case: Case, number: int) -> bytes:
    """An image of a case, as JPEG.

    Raises:
        NotFoundError: there is none.
    """
    sql = "SELECT jpeg FROM case_images WHERE of_case = ? AND id = ?"
    with gallery.reading() as db:
        row = db.execute(sql, (case.id, number)).fetchone()
        if row is not None:
            return _jpeg(row)
    raise NotFoundError(f"case {case.id} has no image {number}")


def _add_images(db: Any, number: int, images: Sequence[bytes]) -> None:
    db.executemany(
        "INSERT INTO case_images (of_case, jpeg) VALUES (?, ?)",
        [(number, jpeg) for jpeg in images],
    )


def _write(
    gallery: GalleryStore, db: Any, number: int, content: Content, said: tuple[str, str]
) -> None:
    if not content.title.strip():
        raise InputError("a case needs a title")
    values = (content.title.strip(), content.notes, json.dumps(content.search), said[1], number)
    sql = "UPDATE cases SET title = ?, notes = ?, search = ?, changed = ? WHERE id = ?"
    if not db.execute(sql, values).rowcount:
        raise NotFoundError(f"{gallery.folder} has no case {number}")
    keys = {gallery.tracklet(mark.tracklet).key: mark for mark in content.marks}
    db.execute(
        "DELETE FROM case_marks WHERE of_case = ? AND tracklet NOT IN "
        "(SELECT value FROM json_each(?))",
        (number, json.dumps(list(keys))),
    )
    # A mark that says what it said before keeps who said it, and what was seen then.
    db.executemany(
        "INSERT INTO case_marks (of_case, tracklet, confirmed, similarity, probability, note, "
        "said_by, said_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (of_case, tracklet) DO "
        "UPDATE SET note = excluded.note, "
        + ", ".join(
            f"{column} = CASE WHEN confirmed = excluded.confirmed THEN {column} "
            f"ELSE excluded.{column} END"
            for column in ("similarity", "probability", "said_by", "said_at")
        )
        + ", confirmed = excluded.confirmed",
        [
            (number, key, mark.confirmed, mark.similarity, mark.probability, mark.note, *said)
            for key, mark in keys.items()
        ],
    )


def _complete(gallery: GalleryStore, case: Case) -> Case:
    with gallery.reading() as db:
        images = db.execute("SELECT id FROM case_images WHERE of_case = ? ORDER BY id", (case.id,))
        numbers = [row[0] for row in images]
        rows = db.execute(MARKS + " WHERE of_case = ? ORDER BY tracklet", (case.id,)).fetchall()
    found = {t.key: t.id for t in gallery.tracklets_by_key(row[0] for row in rows)}
    marks = [replace(mark_row(row), tracklet=found[row[0]]) for row in rows if row[0] in found]
    return replace(case, images=numbers, marks=marks)


@checked(int, str, str, str, str, str, str)
def case_row(row: Sequence[Any]) -> Case:
    """A row of :data:`CASES`, without images and marks."""
    id, owner, title, notes, search, made, changed = row
    content = json.loads(search)
    if not isinstance(content, dict):
        raise ValueError("the search of a case that is not a JSON object")
    times = (datetime.fromisoformat(made), datetime.fromisoformat(changed))
    return Case(id, owner, title, notes, content, *times)


@checked(int, int, float | None, float | None, str, str, str)
def mark_row(row: Sequence[Any]) -> Mark:
    """A row of :data:`MARKS`; its tracklet is known by key only, and yet to be filled in."""
    _, confirmed, similarity, probability, note, by, at = row
    said = by, datetime.fromisoformat(at)
    return Mark(TrackletId("", 0), bool(confirmed), similarity, probability, note, *said)


@checked(bytes)
def _jpeg(row: Sequence[Any]) -> bytes:
    return bytes(row[0])
