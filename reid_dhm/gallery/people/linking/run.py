"""Running the linking of a gallery: reads tracklets and what users said, and stores the people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from reid_dhm.errors import LockedError
from reid_dhm.gallery.people.evidence import read_appearances
from reid_dhm.gallery.people.linking.link import Constraints, link
from reid_dhm.gallery.people.linking.link import assign as join
from reid_dhm.gallery.people.thresholds.stored import (
    read_stored_thresholds,
    store_thresholds,
)
from reid_dhm.gallery.store import audit
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.store.membership import Assignment, assign, revision
from reid_dhm.gallery.store.people import different, members
from reid_dhm.gallery.store.travel import by_id, keep_travel_times, read_travel_times
from reid_dhm.gallery.store.watching import announce

_ATTEMPTS = 5  # before giving up on users who never stop talking


def link_gallery(
    gallery: GalleryStore,
    travel_times: Mapping[tuple[str, str], float] | None = None,
    actor: str | None = None,
    new_only: bool = False,
    live: bool = False,
) -> Assignment:
    """Find the people of all tracklets, true to what users said, and store them.

    Watched people among tracklets that had no person are announced. The thresholds that this takes
    are kept for searches, and the travel times for later passes.
    Computed again if somebody says something meanwhile; either everything is stored, with its entry
    in the audit log, or nothing.

    Args:
        gallery: which.
        travel_times: least seconds from one camera to another, by pairs of names, beside those
            that are kept already; 0 forgets one.
        actor: for the audit log; the user of this process by default.
        new_only: only tracklets without a person join people there are, or become new ones;
            nobody else changes. The gallery's thresholds stay as well.
        live: thresholds that the few tracklets seen so far may give are not kept.

    Raises:
        InputError, NotFoundError: unusable travel times.
        LockedError: people were changed during every one of five attempts.
    """
    given = by_id(gallery, travel_times or {})
    for _ in range(_ATTEMPTS):
        with gallery.snapshot():
            based_on, known = revision(gallery), members(gallery)
            persons = dict(zip(known.keys.tolist(), known.people.tolist(), strict=True))
            deletions, count = gallery.state()[1:3]
            appearances = read_appearances(gallery, persons)
            law = Constraints(
                cannot=different(gallery),
                confirmed=np.stack([known.keys, known.people], 1)[known.confirmed],
                travel_times={**read_travel_times(gallery), **given},
            )
            kept = read_stored_thresholds(gallery) if new_only else None
        find = join if new_only and len(known.keys) else link
        thresholds = None if kept is None else kept.thresholds
        found = find(appearances, law, thresholds, based_on.next_person)
        with gallery.writing():
            done = assign(gallery, appearances.keys, found.persons, based_on)
            if done is None:
                continue
            keep_travel_times(gallery, given)
            new = appearances.persons < 0
            announce(gallery, appearances.keys[new], found.persons[new])
            if kept is None and not live:
                store_thresholds(gallery, found.thresholds, count, deletions)
            detail: dict[str, Any] = {
                "tracklets": len(appearances),
                "people": done.people,
                "new": done.new,
            }
            if travel_times:
                detail["travel"] = [[*names, least] for names, least in travel_times.items()]
            audit.record(gallery, "link", detail, actor)
        return done
    raise LockedError(f"the people of {gallery.folder} are being changed: try again in a moment")
