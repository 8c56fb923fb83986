"""Changing what a gallery says: who is who, and forgetting people for good."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from reid_dhm.errors import InputError
from reid_dhm.gallery import queries
from reid_dhm.gallery.records import TrackletId, Where
from reid_dhm.gallery.store import Gallery

logger = logging.getLogger(__name__)


def label(gallery: Gallery, tracklets: Sequence[TrackletId], person: str | None) -> int:
    """Say that these tracklets show ``person``, or nobody known; returns how many changed.

    Raises:
        InputError: a tracklet that is not there, or an empty name.
    """
    if person is not None and not person.strip():
        raise InputError("the person's name is empty: give one, or none to take it away")
    keys = [gallery.tracklet(tracklet).key for tracklet in tracklets]
    with gallery.writing() as db:
        changed = db.executemany(
            "UPDATE tracklets SET person = ? WHERE key = ? AND person IS NOT ?",
            [(person, key, person) for key in keys],
        )
        return int(changed.rowcount)


def rename(gallery: Gallery, old: str, new: str) -> int:
    """Call a person otherwise, joining the one of that name; returns how many tracklets.

    Raises:
        InputError: nobody has the old name, or the new one is empty.
    """
    if not new.strip():
        raise InputError("the person's new name is empty: give one")
    with gallery.writing() as db:
        changed = db.execute("UPDATE tracklets SET person = ? WHERE person = ?", (new, old))
    if not changed.rowcount:
        raise InputError(f"{gallery.folder} knows nobody as {old!r}")
    return int(changed.rowcount)


def people(gallery: Gallery) -> dict[str, int]:
    """Every person's name with the number of tracklets, by name."""
    sql = (
        "SELECT person, count(*) FROM tracklets WHERE person IS NOT NULL GROUP BY person "
        "ORDER BY person"
    )
    with gallery.reading() as db:
        return dict(db.execute(sql).fetchall())


def delete(gallery: Gallery, where: Where) -> int:
    """Delete tracklets with everything about them, for good; returns how many.

    Videos and cameras stay. What was deleted is overwritten in the file, and the cache emptied.

    Raises:
        InputError: no condition at all.
    """
    if not where:
        raise InputError("nothing says what to delete: name tracklets, a camera or a time")
    condition, values = gallery.condition(where)
    with _forgetting(gallery) as db:
        return int(db.execute(queries.DELETE.format(condition), values).rowcount)


def delete_video(gallery: Gallery, hash: str) -> int:
    """Delete a video and all tracklets in it; returns how many tracklets."""
    found, count = gallery.video(hash), gallery.count(Where(videos=[hash]))
    with _forgetting(gallery) as db:
        db.execute("DELETE FROM videos WHERE id = ?", (found.id,))
    return count


def delete_camera(gallery: Gallery, name: str) -> int:
    """Delete a camera, its videos and all tracklets in them; returns how many tracklets."""
    found, count = gallery.camera(name), gallery.count(Where(cameras=[name]))
    with _forgetting(gallery) as db:
        db.execute("DELETE FROM cameras WHERE id = ?", (found.id,))
    return count


def compact(gallery: Gallery) -> None:
    """Rewrite the file without its free pages, and empty the write-ahead log.

    Raises:
        InputError: another process is in the middle of reading, or the disk cannot hold a copy.
    """
    with gallery.reading() as db:
        db.execute("VACUUM")
    if not gallery.empty_log():
        raise InputError(
            f"{gallery.path} is being read by another process: try again when that is done"
        )


@contextmanager
def _forgetting(gallery: Gallery) -> Iterator[Any]:
    # Before, so that no index outlives what it was built from; after, in case somebody wrote one
    # from the old content meanwhile.
    gallery.empty_cache()
    with gallery.writing(deleted=True) as db:
        yield db
    gallery.empty_cache()
    if not gallery.empty_log():
        logger.warning(
            "%s is being read by another process, so traces of what was deleted stay in %s-wal "
            "until reid-dhm gallery compact is run",
            *(gallery.path, gallery.path),
        )
