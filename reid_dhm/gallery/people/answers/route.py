"""One person's way over all cameras: appearances in order, and how each came to the person."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reid_dhm.gallery.people.answers.presence import GAP, Presence, read_presence
from reid_dhm.gallery.records import Tracklet, TrackletFilter
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.store.people import Confirmation, Person, confirmations


@dataclass(frozen=True, slots=True)
class Appearance:
    """A tracklet of a person.

    Attributes:
        tracklet: where and when.
        confirmation: by whom and when it was confirmed; None if it was found.
    """

    tracklet: Tracklet
    confirmation: Confirmation | None

    @property
    def origin(self) -> str:
        """``found``, or who confirmed it and on which day."""
        said = self.confirmation
        return "found" if said is None else f"{said.by}, {said.at:%Y-%m-%d}"

    def to_dict(self, image: str | None = None) -> dict[str, Any]:
        """As JSON-ready values."""
        said = self.confirmation
        return self.tracklet.to_dict() | {
            "confirmed_by": None if said is None else said.by,
            "confirmed_at": None if said is None else said.at.isoformat(),
            "crop": image,
        }


@dataclass(frozen=True, eq=False)
class Route:
    """A person's way.

    Attributes:
        person: whose.
        appearances: by clock and time.
        presence: the same as arrays.
        visits: rows of :meth:`.Presence.visits`, by clock and time.
    """

    person: Person
    appearances: list[Appearance]
    presence: Presence
    visits: Presence

    @property
    def keys(self) -> list[int]:
        """Of the tracklets, in order."""
        return [each.tracklet.key for each in self.appearances]

    @property
    def cameras(self) -> list[str]:
        """Names, in the order of first being seen there."""
        return list(dict.fromkeys(each.tracklet.camera for each in self.appearances))

    @property
    def seconds(self) -> float:
        """In view, summed over tracklets."""
        return sum(each.tracklet.end - each.tracklet.start for each in self.appearances)

    def to_dict(self, images: Mapping[int, str] | None = None) -> dict[str, Any]:
        """As JSON-ready values.

        Args:
            images: files of the tracklets' images, by key.
        """
        visits, files = self.visits, images or {}
        return {
            **self.person.to_dict(),
            "cameras": self.cameras,
            "seconds": self.seconds,
            "visits": [
                {
                    "camera": visits.names[camera],
                    "start": _moment(visits, clock, start),
                    "end": _moment(visits, clock, end),
                }
                for camera, clock, start, end in zip(
                    visits.cameras.tolist(),
                    visits.clocks.tolist(),
                    visits.starts.tolist(),
                    visits.ends.tolist(),
                    strict=True,
                )
            ],
            "appearances": [
                each.to_dict(files.get(each.tracklet.key)) for each in self.appearances
            ],
        }


def read_route(gallery: GalleryStore, person: Person, gap: float = GAP) -> Route:
    """The way of a person.

    Args:
        gallery: which.
        person: whose.
        gap: seconds out of view after which a return to a camera is a new visit.
    """
    with gallery.snapshot():
        said = confirmations(gallery, person.id)
        found = gallery.tracklets_by_key(said)
        presence = read_presence(gallery, TrackletFilter(tracklets=[each.id for each in found]))
    by_key = {tracklet.key: tracklet for tracklet in found}
    appearances = [
        Appearance(by_key[key], said[key]) for key in presence.keys.tolist() if key in by_key
    ]
    return Route(person, appearances, presence, presence.visits(gap))


def _moment(visits: Presence, clock: int, seconds: float) -> float | str:
    """ISO 8601, or seconds from the video's start."""
    moment = visits.time(seconds) if clock == 0 else None
    return seconds if moment is None else moment.isoformat()
