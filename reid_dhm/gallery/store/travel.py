"""How long the way from one camera to another takes at least, as users say; kept in the gallery."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reid_dhm.errors import InputError
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.store.queries import checked

TravelTimes = Mapping[tuple[int, int], float]
"""Least seconds from leaving one camera's view to entering another's, either way, by camera ids."""

TRAVEL_TIMES = "SELECT first, second, seconds FROM travel_times ORDER BY first, second"
MAX_SECONDS = 1e7


def read_travel_times(gallery: GalleryStore) -> dict[tuple[int, int], float]:
    """The travel times of a gallery, by camera ids, the lower one first."""
    with gallery.reading() as db:
        return dict(map(travel_time, db.execute(TRAVEL_TIMES).fetchall()))


def by_id(gallery: GalleryStore, times: Mapping[tuple[str, str], float]) -> TravelTimes:
    """Travel times by names of cameras as such by camera ids.

    Raises:
        InputError: twice the same camera, or seconds that are not from 0 to 1e7.
        NotFoundError: an unknown camera.
    """
    found = {}
    for (one, other), seconds in times.items():
        if one == other:
            raise InputError(f"travel time from camera {one[:60]!r} to itself: name two cameras")
        if not 0 <= seconds < MAX_SECONDS:
            raise InputError(
                f"travel time of {seconds:g} seconds from {one} to {other}: give 0 to 1e7"
            )
        ids = sorted((gallery.camera(one).id, gallery.camera(other).id))
        found[ids[0], ids[1]] = float(seconds)
    return found


def keep_travel_times(gallery: GalleryStore, times: TravelTimes) -> None:
    """Keep these beside those that are known; 0 seconds forget one."""
    with gallery.writing() as db:
        db.executemany(
            "INSERT OR REPLACE INTO travel_times VALUES (?, ?, ?)",
            [(one, other, seconds) for (one, other), seconds in times.items()],
        )
        db.execute("DELETE FROM travel_times WHERE seconds = 0")


@checked(int, int, float)
def travel_time(row: Sequence[Any]) -> tuple[tuple[int, int], float]:
    """A row of :data:`TRAVEL_TIMES`."""
    one, other, seconds = row
    if one >= other or not 0 < seconds < MAX_SECONDS:
        raise ValueError(f"a travel time of {seconds} seconds between cameras {one} and {other}")
    return (one, other), seconds
