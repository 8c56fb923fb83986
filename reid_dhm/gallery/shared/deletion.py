"""Deleting people from a shared gallery for good: rows, old versions, indexes, object versions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from reid_dhm.errors import InputError
from reid_dhm.gallery.records import TrackletFilter
from reid_dhm.gallery.shared import leases
from reid_dhm.gallery.shared.filters import numbers, texts
from reid_dhm.gallery.shared.gallery import SharedGallery
from reid_dhm.gallery.shared.upkeep import purge
from reid_dhm.gallery.shared.writing import mark_handed_over
from reid_dhm.gallery.store.deletion import Deletion, Selection

_BLOCK = 10_000


def select(gallery: SharedGallery, where: TrackletFilter, whole: bool = False) -> Selection:
    """What matches a filter now; arguments and errors as of :func:`.store.deletion.select`."""
    if not where:
        raise InputError("nothing selects what to delete: name tracklets, a camera or a time")
    where = replace(where, exclude=())
    gallery.check_filter(where)
    videos = [
        video.id
        for video in gallery.videos()
        if whole
        and (not where.cameras or video.camera in where.cameras)
        and (not where.videos or video.hash in where.videos)
    ]
    return Selection(gallery.keys(where), (), (), videos, where.cameras if whole else ())


def delete(
    gallery: SharedGallery, selected: Selection | TrackletFilter, whole: bool = False
) -> tuple[Deletion, bool]:
    """Delete exactly what was selected; arguments as of :func:`.store.deletion.delete`.

    Readers see the rows gone at once. Then their bytes go: files that held them are rewritten,
    indexes trained anew, and old versions removed; also where nothing is selected, which completes
    a deletion that was killed.

    Returns:
        What was deleted, and whether no byte of it is left; False while a writer is at work, whose
        files the next deletion or ``reid-dhm gallery compact`` removes.
    """
    if isinstance(selected, TrackletFilter):
        selected = select(gallery, selected, whole)
    with leases.writing(gallery.tables, "deletion"):
        done = _delete_rows(gallery, selected)
    return done, purge(gallery)


def _delete_rows(gallery: SharedGallery, selected: Selection) -> Deletion:
    tables, count = gallery.tables, 0
    for keys in np.array_split(selected.tracklets, max(1, len(selected.tracklets) // _BLOCK)):
        if not len(keys):
            continue
        these = f"key IN {numbers(keys.tolist())}"
        rows = gallery.tables.rows("tracklets", ["id", "video"], filter=these)
        ids = texts(rows["id"].to_pylist())
        mark_handed_over(gallery, set(rows["video"].to_pylist()))
        count += tables.delete("tracklets", these)
        if ids != "()":
            tables.delete("different", f"first IN {ids} OR second IN {ids}")
    wanted, left = set(selected.videos), gallery.counts()
    chosen = [video for video in gallery.videos() if video.id in wanted]
    gone = [video for video in chosen if not left.get(video.id)]
    if gone:
        tables.delete("videos", f"hash IN {texts(video.hash for video in gone)}")
    kept = [video.hash for video in chosen if left.get(video.id)]
    there = {camera.name for camera in gallery.cameras()}
    cameras = [name for name in selected.cameras if name not in there]
    return Deletion(count, cameras, len(gone), kept)
