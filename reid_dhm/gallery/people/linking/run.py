"""Running the linking of a gallery: reads tracklets and what users said, and stores the people."""

from __future__ import annotations

import numpy as np

from reid_dhm.errors import LockedError
from reid_dhm.gallery.people.evidence import read_appearances
from reid_dhm.gallery.people.linking.impossible import TravelTimes
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

_ATTEMPTS = 5  # before giving up on users who never stop talking


def link_gallery(
    gallery: GalleryStore,
    travel_times: TravelTimes | None = None,
    actor: str | None = None,
    new_only: bool = False,
) -> Assignment:
    """Find the people of all tracklets, true to what users said, and store them.

    The thresholds that this takes are kept for searches. Computed again if somebody says something
    meanwhile; either everything is stored or nothing.

    Args:
        gallery: which.
        travel_times: least seconds between two cameras, by camera ids.
        actor: for the audit log; the user of this process by default.
        new_only: only tracklets without a person join people there are, or become new ones;
            nobody else changes. The gallery's thresholds stay as well.

    Raises:
        LockedError: people were changed during every one of five attempts.
    """
    for _ in range(_ATTEMPTS):
        with gallery.snapshot():
            based_on, known = revision(gallery), members(gallery)
            persons = dict(zip(known.keys.tolist(), known.people.tolist(), strict=True))
            deletions, count = gallery.state()[1:3]
            appearances = read_appearances(gallery, persons)
            law = Constraints(
                cannot=different(gallery),
                confirmed=np.stack([known.keys, known.people], 1)[known.confirmed],
                travel_times=travel_times or {},
            )
            kept = read_stored_thresholds(gallery) if new_only else None
        if new_only and len(known.keys):
            thresholds = None if kept is None else kept.thresholds
            found = join(appearances, law, thresholds, based_on.next_person)
        else:
            found = link(appearances, law, next_person=based_on.next_person)
        done = assign(gallery, appearances.keys, found.persons, based_on)
        if done is not None:
            if kept is None:
                store_thresholds(gallery, found.thresholds, count, deletions)
            detail = {"tracklets": len(appearances), "people": done.people, "new": done.new}
            audit.record(gallery, "link", detail, actor)
            return done
    raise LockedError(f"the people of {gallery.folder} are being changed: try again in a moment")
