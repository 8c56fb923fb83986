"""Opening a gallery wherever it lies, and what has to know the engine that keeps it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reid_dhm.errors import InputError, UnsupportedError
from reid_dhm.extras import require
from reid_dhm.gallery.address import shared_address
from reid_dhm.gallery.records import TrackletFilter
from reid_dhm.gallery.store import audit, deletion
from reid_dhm.gallery.store.deletion import Deletion, Selection
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.store.reader import GalleryReader
from reid_dhm.text import shell_word

if TYPE_CHECKING:
    from reid_dhm.gallery.shared.copying import Copied


def open_gallery(place: Path, create: bool = False) -> GalleryReader:
    """Open the gallery of a folder, or a shared one.

    Args:
        place: a folder, ``s3://BUCKET/PREFIX`` or ``lance:FOLDER``.
        create: make it if it does not exist.

    Raises:
        InputError, LockedError, StorageError: as of :class:`.GalleryStore` and
            :class:`.SharedGallery`.
    """
    address = shared_address(place)
    if address is None:
        return GalleryStore(place, create)
    require("cluster", "a shared gallery", "lance")
    from reid_dhm.gallery.shared.gallery import SharedGallery

    return SharedGallery(address, create)


def in_folder(gallery: GalleryReader) -> GalleryStore:
    """The gallery, for what only one in a folder can do.

    Raises:
        UnsupportedError: a shared gallery.
    """
    if isinstance(gallery, GalleryStore):
        return gallery
    raise UnsupportedError(
        f"{gallery.folder} is a shared gallery, in which this is not possible: copy it first "
        f"(reid-dhm gallery copy {shell_word(gallery.folder)} FOLDER)"
    )


def select(gallery: GalleryReader, where: TrackletFilter, whole: bool = False) -> Selection:
    """As :func:`.deletion.select`, of any gallery."""
    if isinstance(gallery, GalleryStore):
        return deletion.select(gallery, where, whole)
    from reid_dhm.gallery.shared import deletion as shared

    return shared.select(as_shared(gallery), where, whole)


def unfinished_tracks(gallery: GalleryReader, where: TrackletFilter) -> list[tuple[int, int]]:
    """As :func:`.deletion.unfinished_tracks`; a shared gallery has only finished videos."""
    return deletion.unfinished_tracks(gallery, where) if isinstance(gallery, GalleryStore) else []


def delete_logged(
    gallery: GalleryReader,
    selected: Selection | TrackletFilter,
    detail: Mapping[str, Any],
    actor: str | None = None,
    whole: bool = False,
) -> tuple[Deletion, bool]:
    """Delete for good, with an audit entry before and after.

    Args:
        gallery, selected, whole: as for :func:`.deletion.delete`.
        detail, actor: as for :func:`.audit.record`.

    Returns:
        What was deleted, and whether no trace of it is left; in a folder
        :meth:`.GalleryStore.empty_log` tells that later.
    """
    if isinstance(gallery, GalleryStore):
        return deletion.delete_logged(gallery, selected, detail, actor, whole), True
    from reid_dhm.gallery.shared import deletion as shared

    audit.record(gallery, "delete", {**detail, "state": "asked"}, actor)
    done, clean = shared.delete(as_shared(gallery), selected, whole)
    audit.record(gallery, "delete", {**detail, "state": "done", "deleted": done.count}, actor)
    return done, clean


def copy_gallery(
    source: GalleryReader,
    target: GalleryReader,
    where: TrackletFilter | None = None,
    report: Callable[[int, int], None] | None = None,
) -> Copied:
    """Copy videos between a folder and shared storage; see :func:`.copying.copy_gallery`."""
    if isinstance(source, GalleryStore) == isinstance(target, GalleryStore):
        raise InputError(
            f"{source.folder} and {target.folder}: one has to be a folder and the other shared, "
            "s3://BUCKET/PREFIX or lance:FOLDER"
        )
    from reid_dhm.gallery.shared import copying

    return copying.copy_gallery(source, target, where, report)


def as_shared(gallery: GalleryReader) -> Any:
    """The gallery as :class:`.SharedGallery`, which cannot be named where Lance is missing."""
    return gallery
