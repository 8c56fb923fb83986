"""Labelling people, and compacting the file of a gallery."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import count
from typing import Any

from reid_dhm.errors import LockedError, StorageError
from reid_dhm.gallery.records import TrackletId, check_name
from reid_dhm.gallery.store.filters import as_utf8
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.store.queries import checked


def label(gallery: GalleryStore, tracklets: Sequence[TrackletId], person: str | None) -> int:
    """Give these tracklets the label ``person``, or none; returns how many changed.

    Raises:
        InputError: a name that :func:`.check_name` refuses.
        NotFoundError: an unknown tracklet.
    """
    if person is not None:
        check_name("person", person)
    keys = [gallery.tracklet(tracklet).key for tracklet in tracklets]
    with gallery.writing() as db:
        changed = db.executemany(
            "UPDATE tracklets SET person = ? WHERE key = ? AND person IS NOT ?",
            [(person, key, person) for key in keys],
        )
        return int(changed.rowcount)


def common_name(gallery: GalleryStore, tracklets: Sequence[TrackletId]) -> str:
    """The first label among these tracklets, or a new one such as ``person 7``.

    Raises:
        NotFoundError: an unknown tracklet.
    """
    named = [person for id in tracklets if (person := gallery.tracklet(id).person)]
    known = people(gallery)
    return (
        named[0] if named else next(n for n in map("person {}".format, count(1)) if n not in known)
    )


def people(gallery: GalleryStore) -> dict[str, int]:
    """Number of tracklets per label, in the order of labels."""
    sql = (
        "SELECT person, count(*) FROM tracklets WHERE person IS NOT NULL GROUP BY person "
        "ORDER BY person"
    )
    with gallery.reading() as db:
        return dict(map(_person, db.execute(sql).fetchall()))


@checked(str, int)
def _person(row: Sequence[Any]) -> tuple[str, int]:
    return row[0], row[1]


def compact(gallery: GalleryStore) -> None:
    """Rewrite the file without its free pages, and empty the write-ahead log.

    Raises:
        LockedError: another process is reading.
        StorageError: the folder cannot be written, or the disk cannot hold a copy.
    """
    if not os.access(gallery.folder, os.W_OK):
        raise StorageError(f"{gallery.folder} cannot be written: allow writing to it")
    with gallery.reading() as db:
        # The copy, as large as the gallery, is a file beside it instead of in memory or elsewhere.
        folder = str(gallery.folder.resolve())
        if folder == as_utf8(folder):
            quoted = folder.replace("'", "''")
            db.execute(f"PRAGMA temp_store_directory = '{quoted}'")
        db.execute("PRAGMA temp_store = FILE")
        try:
            db.execute("VACUUM")
        finally:
            db.execute("PRAGMA temp_store = MEMORY")
            db.execute("PRAGMA temp_store_directory = ''")
    if not gallery.empty_log():
        raise LockedError(
            f"{gallery.path} is being read by another process: try again when that is done"
        )
