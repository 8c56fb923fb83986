"""Copying between a folder and shared storage, video by video, so that it can be resumed."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from reid_dhm.errors import InputError
from reid_dhm.gallery.records import DETECTION, NewTracklet, TrackletFilter, TrackletId, Video
from reid_dhm.gallery.shared import leases, schema
from reid_dhm.gallery.shared.filters import numbers
from reid_dhm.gallery.shared.gallery import SharedGallery
from reid_dhm.gallery.shared.writing import WholeTracklet, add_video, has_video
from reid_dhm.gallery.store import audit, people
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.store.membership import count_change
from reid_dhm.gallery.store.people import Confirmation
from reid_dhm.gallery.store.reader import GalleryReader
from reid_dhm.gallery.store.writing import VideoWriter

_PAGE = 256

_OF_ANY = """SELECT m.person FROM json_each(?) j
    JOIN videos v ON v.hash = json_extract(j.value, '$[0]')
    JOIN tracklets t ON t.video = v.id AND t.track = json_extract(j.value, '$[1]')
    JOIN members m ON m.tracklet = t.key LIMIT 1"""
_DIFFERENT = """INSERT OR IGNORE INTO different
    SELECT min(a.key, b.key), max(a.key, b.key), ?, ? FROM tracklets a, tracklets b
    WHERE a.video = (SELECT id FROM videos WHERE hash = ?) AND a.track = ?
    AND b.video = (SELECT id FROM videos WHERE hash = ?) AND b.track = ?"""


@dataclass(frozen=True, slots=True)
class Copied:
    """What a copy did.

    Attributes:
        videos: number of videos copied now.
        known: number of videos that were there.
        tracklets: number of tracklets copied now.
        unfinished: sources of videos that are not indexed to their end, which stay behind.
        partial: sources of videos of which the source of the copy holds only a part.
    """

    videos: int
    known: int
    tracklets: int
    unfinished: Sequence[str]
    partial: Sequence[str] = ()


def copy_gallery(
    source: GalleryReader,
    target: GalleryReader,
    where: TrackletFilter | None = None,
    report: Callable[[int, int], None] | None = None,
) -> Copied:
    """Copy videos with their tracklets, boxes, crops, embeddings and people.

    What is there already is left alone, so the same call continues an interrupted copy. Thresholds
    are not copied, as they are of one gallery: calibrate the copy.

    Args:
        source: from where; the audit log stays there.
        target: to where; of the same model, or new. One of both is shared, the other is not.
        where: which tracklets, and the videos that have any of them; all by default.
        report: called with the number of videos done and of all.

    Raises:
        InputError: the source holds no tracklets.
        ModelMismatchError: the target holds embeddings of another model.
    """
    source.check_filter(where)
    fingerprint, model, dim = source.model()
    if fingerprint is None or dim is None:
        raise InputError(f"{source.folder} holds no tracklets yet: there is nothing to copy")
    every = source.videos()
    held = source.counts() if isinstance(source, SharedGallery) else {}
    videos = [video for video in every if video.complete or held.get(video.id)]
    if isinstance(source, SharedGallery) and isinstance(target, GalleryStore):
        target.claim_model(fingerprint, dim, model or "")
        counts = _all(videos, lambda video: _to_folder(source, target, video, where), report)
        _differences_to_folder(source, target)
    elif isinstance(source, GalleryStore) and isinstance(target, SharedGallery):
        target.claim_model(fingerprint, dim, model or "")
        counts = _all(videos, lambda video: _to_shared(source, target, video, where), report)
        _differences_to_shared(source, target)
    else:
        raise TypeError("one gallery has to be a folder and the other shared")
    copied = [count for count in counts if count is not None]
    detail = {"from": str(source.folder), "videos": len(copied), "tracklets": sum(copied)}
    audit.record(target, "copy", detail)
    unfinished = [video.source for video in every if video not in videos]
    partial = [video.source for video in videos if not video.complete]
    return Copied(len(copied), len(counts) - len(copied), sum(copied), unfinished, partial)


def _all(
    videos: Sequence[Video],
    copy: Callable[[Video], int | None],
    report: Callable[[int, int], None] | None,
) -> list[int | None]:
    counts = []
    for number, video in enumerate(videos, 1):
        counts.append(copy(video))
        if report is not None:
            report(number, len(videos))
    return counts


# From a folder to shared storage


def _to_shared(
    source: GalleryStore, target: SharedGallery, video: Video, where: TrackletFilter | None
) -> int | None:
    """Copy a video; None if it is there whole, or has no matching tracklet."""
    if has_video(target, video):
        return None
    here = replace(where or TrackletFilter(), videos=[video.hash])
    if where and (video.hash not in (where.videos or [video.hash]) or not source.count(here)):
        return None
    return add_video(target, video, _of_folder(source, here), whole=not where)


def _of_folder(source: GalleryStore, where: TrackletFilter) -> Iterator[WholeTracklet]:
    """Matching tracklets; people get numbers that are the same wherever they are copied to."""
    confirmed: dict[int, Confirmation | None] = {}
    shared_numbers: dict[int, int] = {}
    hidden = {person.id for person in people.people(source) if person.hidden}
    after = 0
    while found := source.tracklets(where, after, _PAGE):
        after = found[-1].key
        page = source.embeddings(where, found[0].key - 1, len(found))
        means = dict(zip(page.keys.tolist(), page.embeddings, strict=True))
        for tracklet in found:
            if (person := tracklet.person_id) is not None and person not in shared_numbers:
                confirmed |= people.confirmations(source, person)
                first = source.tracklets(TrackletFilter(person=person), limit=1)[0]
                named = tracklet.person != str(person)
                of = tracklet.person if named else first.id
                shared_numbers[person] = schema.number_of(f"person {of}")
            yield WholeTracklet(
                replace(
                    tracklet,
                    person=None if tracklet.person == str(person) else tracklet.person,
                    person_id=None if person is None else shared_numbers[person],
                ),
                source.boxes(tracklet.key),
                source.crops(tracklet.key),
                means[tracklet.key],
                confirmed.get(tracklet.key),
                person in hidden,
            )


def _differences_to_shared(source: GalleryStore, target: SharedGallery) -> None:
    """Copy what users said to be two people, of tracklets that are there."""
    with source.reading() as db:
        rows = db.execute(people.DIFFERENT).fetchall()
    pairs = []
    for first, second, (by, at) in map(people.difference, rows):
        ids = sorted(str(found.id) for found in source.tracklets_by_key([first, second]))
        said = {"first": ids[0], "second": ids[1], "by": by, "at": at.isoformat()}
        pairs.append({"pair": " ".join(ids), **said})
    if pairs:
        with leases.writing(target.tables, "different"):
            target.tables.merge("different", pa.Table.from_pylist(pairs, schema.DIFFERENT), "pair")


# From shared storage to a folder


def _to_folder(
    source: SharedGallery, target: GalleryStore, video: Video, where: TrackletFilter | None
) -> int | None:
    """Copy the tracklets of a video that are not there; None if there are none."""
    here = replace(where or TrackletFilter(), videos=[video.hash])
    if where and (video.hash not in (where.videos or [video.hash]) or not source.count(here)):
        return None
    there = {each.hash: each for each in target.videos()}.get(video.hash)
    writer = VideoWriter.open(target, video.camera, video)
    tracks, count = writer.tracks(), 0
    for new in _of_shared(source, here, tracks):
        writer.add([NewTracklet(e.tracklet.id.track, e.boxes, e.crops, e.mean) for e in new])
        _name(source, target, new)
        count += len(new)
    with target.writing() as db:
        db.execute(
            "UPDATE videos SET position = ?, num_frames = ?, complete = 1 WHERE hash = ?",
            (video.position, video.num_frames, video.hash),
        )
    return count if count or there is None or not there.complete else None


def _of_shared(
    source: SharedGallery, where: TrackletFilter, without: Collection[int]
) -> Iterator[list[WholeTracklet]]:
    """Matching tracklets without those of some tracks, page after page, by key."""
    keys = source.keys(where).tolist()
    for start in range(0, len(keys), _PAGE):
        wanted = f"key IN {numbers(keys[start : start + _PAGE])}"
        wanted += f" AND track NOT IN {numbers(without)}" if without else ""
        rows = source.tables.rows("tracklets", filter=wanted)
        means = schema.vectors(rows["mean"], source.dim or 0)
        columns = [name for name in rows.column_names if name != "mean"]
        yield [
            WholeTracklet(
                schema.as_tracklet(row),
                np.frombuffer(row["boxes"], DETECTION),
                list(map(schema.as_crop, row["crops"])),
                mean,
                Confirmation(row["confirmed_by"], datetime.fromisoformat(row["confirmed_at"]))
                if row["confirmed_by"] is not None
                else None,
                bool(row["hidden"]),
            )
            for row, mean in zip(rows.select(columns).to_pylist(), means, strict=True)
        ]


def _name(source: SharedGallery, target: GalleryStore, added: Sequence[WholeTracklet]) -> None:
    """Make tracklets that were just added those of their people."""
    own: dict[int, int] = {}
    with target.writing() as db:
        for each in added:
            person = each.tracklet.person_id
            if person is None:
                continue
            if person not in own:
                own[person] = _person(source, db, each)
            said = each.confirmed and (each.confirmed.by, each.confirmed.at.isoformat())
            db.execute(
                "INSERT INTO members SELECT t.key, ?, ?, ? FROM tracklets t JOIN videos v "
                "ON v.id = t.video WHERE v.hash = ? AND t.track = ?",
                (own[person], *(said or (None, None)), *each.tracklet.id),
            )
        if own:
            count_change(db)


def _person(source: SharedGallery, db: Any, one: WholeTracklet) -> int:
    """Number in a folder of the person of a tracklet: whose others are there, or a new one."""
    number = one.tracklet.person_id
    name = None if one.tracklet.person == str(number) else one.tracklet.person
    rows = source.tables.rows("tracklets", ["video", "track"], filter=f"person_id = {number}")
    pairs = [[row["video"], row["track"]] for row in rows.to_pylist()]
    found = db.execute(_OF_ANY, (json.dumps(pairs),)).fetchone()
    found = found or db.execute("SELECT id FROM people WHERE name = ?", (name,)).fetchone()
    if found is not None:
        return int(found[0])
    return int(
        db.execute("INSERT INTO people (name, hidden) VALUES (?, ?)", (name, one.hidden)).lastrowid
    )


def _differences_to_folder(source: SharedGallery, target: GalleryStore) -> None:
    """Copy what users said to be two people, of tracklets that are there."""
    with target.writing() as db:
        for row in source.tables.rows("different").to_pylist():
            ids = (*TrackletId.parse(row["first"]), *TrackletId.parse(row["second"]))
            db.execute(_DIFFERENT, (row["by"], row["at"], *ids))
