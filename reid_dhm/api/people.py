"""People of a gallery: who is who, as found and as users say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import overload

from reid_dhm.api.html import image, table
from reid_dhm.errors import InputError
from reid_dhm.gallery.people.answers.presence import PersonSummary, summarise, summary_of
from reid_dhm.gallery.people.answers.route import Route, read_route
from reid_dhm.gallery.people.linking.run import link_gallery
from reid_dhm.gallery.people.thresholds.stored import calibrate_gallery, camera_rows
from reid_dhm.gallery.records import TrackletFilter, TrackletId
from reid_dhm.gallery.search.candidates import Candidate
from reid_dhm.gallery.store import statements
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.store.people import Person, find_person

__all__ = ["People"]

Who = str | int | PersonSummary
"""A person: by name, by number, or as :class:`People` holds one."""

_PORTRAITS = 24  # images that a notebook shows


class People(Sequence[PersonSummary]):
    """People of a gallery, by number; a notebook shows a portrait of each.

    Args:
        store: of the gallery, for portraits.
        items: the people.
    """

    def __init__(self, store: GalleryStore, items: Sequence[PersonSummary]) -> None:
        self._store = store
        self._items = tuple(items)

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[PersonSummary]:
        return iter(self._items)

    @overload
    def __getitem__(self, index: int) -> PersonSummary: ...

    @overload
    def __getitem__(self, index: slice) -> People: ...

    def __getitem__(self, index: int | slice) -> PersonSummary | People:
        if isinstance(index, slice):
            return People(self._store, self._items[index])
        return self._items[index]

    def __repr__(self) -> str:
        rows = [
            f"  {each.person.title}: {each.num_tracklets} tracklets, {', '.join(each.cameras)}"
            for each in self._items
        ]
        return "\n".join([f"{len(self)} people", *rows])

    def _repr_html_(self) -> str:
        portraits = []
        for each in self._items[:_PORTRAITS]:
            jpeg = self._store.thumbnail(each.portrait)
            if jpeg is not None:
                portraits.append(image(jpeg, each.person.label))
        rows = [
            (
                each.person.label,
                str(each.num_tracklets),
                ", ".join(each.cameras),
                "" if each.first_seen is None else each.first_seen.isoformat(),
                f"{each.seconds:.1f} s",
            )
            for each in self._items
        ]
        header = ("person", "tracklets", "cameras", "first seen", "in view")
        return "".join(portraits) + table(header, rows)


class PeopleMethods:
    """The methods of :class:`reid_dhm.Gallery` that are about people."""

    store: GalleryStore

    def people(
        self,
        *,
        cameras: Sequence[str] = (),
        videos: Sequence[str] = (),
        after: float | datetime | None = None,
        before: float | datetime | None = None,
        min_cameras: int = 1,
    ) -> People:
        """People whose tracklets match; figures are of these tracklets.

        Args:
            cameras, videos: seen in any of these, by name and by content hash.
            after, before: seen in this span: seconds from each video's start, or wall-clock times.
            min_cameras: seen there by at least so many cameras.

        Raises:
            InputError: an unknown camera or video.
        """
        where = TrackletFilter((), tuple(videos), tuple(cameras), None, after, before)
        return People(self.store, summarise(self.store, where, min_cameras))

    def link(
        self,
        tracklets: Sequence[Candidate | str] = (),
        *,
        travel_times: Mapping[tuple[str, str], float] | None = None,
        new_only: bool = False,
    ) -> People:
        """Find everybody's tracklets anew; with tracklets, record that they are one person.

        What users said is kept: confirmed tracklets stay with their person, split ones stay apart,
        and people who were there keep their numbers and names. Also finds the gallery's own
        thresholds, from which match probabilities come.

        Args:
            tracklets: ids or candidates that show one person; nothing else is found then.
            travel_times: least seconds from one camera to another, by pairs of names; kept for
                later, 0 forgets one.
            new_only: only tracklets without a person get one; nobody else changes.

        Returns:
            All people; with tracklets, the one that they are.

        Raises:
            InputError: an unknown camera or tracklet, or tracklets of people with two names or
                that were said to be different.
        """
        if tracklets:
            if travel_times or new_only:
                option = "travel_times" if travel_times else "new_only"
                raise InputError(f"{option} has no effect with tracklets: leave it out")
            number = statements.link(self.store, [as_id(each) for each in tracklets])
            return People(self.store, [summary_of(self.store, number)])
        link_gallery(self.store, travel_times, new_only=new_only)
        return self.people()

    def split(self, person: Who, tracklets: Sequence[Candidate | str]) -> PersonSummary:
        """Record that tracklets are not this person; returns the new person they become.

        Raises:
            InputError: an unknown person, or tracklets that are not the person's, or all of them.
        """
        ids = [as_id(each) for each in tracklets]
        return summary_of(self.store, statements.split(self.store, self._person(person), ids))

    def merge(self, people: Sequence[Who], name: str | None = None) -> PersonSummary:
        """Record that people are one: the first, whom the others join.

        Args:
            people: two or more.
            name: of the person, where several have one.

        Raises:
            InputError: fewer than two, unknown people, or several names and none is given.
        """
        found = [self._person(each) for each in people]
        return summary_of(self.store, statements.merge(self.store, found, name))

    def name(self, person: Who, name: str | None) -> PersonSummary:
        """Give a person a name, or None to take it away.

        Raises:
            InputError: an unknown person, or a name that is not allowed or belongs to another.
        """
        found = self._person(person)
        statements.name(self.store, found, name)
        return summary_of(self.store, found.id)

    def route(self, person: Who) -> Route:
        """A person's appearances and visits over all cameras, by time.

        Raises:
            InputError: an unknown person.
        """
        return read_route(self.store, self._person(person))

    def calibrate(self) -> list[dict[str, object]]:
        """Find the gallery's own thresholds, without linking.

        Returns:
            For every pair of cameras with enough pairs: ``cameras``, the cosines of ``even`` (50 %)
            and ``sure`` (90 %) match probability, and the numbers of pairs that they rest on.
        """
        names = {camera.id: camera.name for camera in self.store.cameras()}
        return camera_rows(calibrate_gallery(self.store), names)

    def _person(self, who: Who) -> Person:
        return find_person(self.store, who.person.id if isinstance(who, PersonSummary) else who)


def as_id(match: Candidate | str) -> TrackletId:
    """The id of a candidate, or of a text."""
    return match.tracklet.id if isinstance(match, Candidate) else TrackletId.parse(match)
