"""How many different people: per camera and hour, from camera to camera, and how long they stay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reid_dhm.gallery.people.answers.presence import Presence
from reid_dhm.report.plots.svg import INK, Drawing, figure
from reid_dhm.text import printable

HOUR = 3600.0
OUTSIDE = "outside"
"""Where people come from before they are first seen, and go to after they are last seen."""

_LONGEST = 20  # characters of a camera's name in a figure


@dataclass(frozen=True, slots=True)
class HourCount:
    """Different people whom a camera saw in an hour.

    Attributes:
        camera: name; None for all cameras together, which count everybody once.
        hour: when the hour begins: ISO 8601, or ``hour 0`` from the start of each video without
            wall-clock time.
        people: how many different ones.
    """

    camera: str | None
    hour: str
    people: int


@dataclass(frozen=True, slots=True)
class Dwell:
    """How long people stay in the view of a camera.

    Attributes:
        camera: name.
        people: how many different ones.
        visits: how often somebody came.
        median, longest: seconds of a visit.
    """

    camera: str
    people: int
    visits: int
    median: float
    longest: float


@dataclass(frozen=True, eq=False)
class Flows:
    """Ways between cameras.

    Attributes:
        places: names of the C cameras, and :data:`OUTSIDE` last.
        counts: (C + 1, C + 1) int64, how often somebody was seen at the place of the row and next
            at the place of the column.
    """

    places: tuple[str, ...]
    counts: NDArray[np.int64]

    def to_rows(self) -> list[dict[str, Any]]:
        """Every way that was gone: ``from``, ``to`` and ``count``."""
        return [
            {"from": self.places[row], "to": self.places[column], "count": int(count)}
            for (row, column), count in np.ndenumerate(self.counts)
            if count
        ]


def hour_counts(presence: Presence) -> list[HourCount]:
    """Different people per camera and hour, by hour and camera; then those of all cameras."""
    if not len(presence):
        return []
    # Hours begin at full hours of local time, which is not everywhere that of UTC.
    shift = np.where(presence.clocks == 0, presence.offset, 0)
    first = np.floor((presence.starts + shift) / HOUR).astype(np.int64)
    last = np.floor((presence.ends + shift) / HOUR).astype(np.int64)
    rows = np.repeat(np.arange(len(presence)), last - first + 1)
    hours = first[rows] + np.arange(len(rows)) - np.searchsorted(rows, rows)
    timed, people = presence.clocks[rows] == 0, presence.people[rows]
    found = []
    for camera in (*sorted(presence.names, key=presence.names.__getitem__), None):
        own = np.ones(len(rows), bool) if camera is None else presence.cameras[rows] == camera
        seen = np.unique(np.stack([~timed[own], hours[own], people[own]], 1), axis=0)
        times, counts = np.unique(seen[:, :2], axis=0, return_counts=True)
        name = None if camera is None else presence.names[camera]
        for (untimed, hour), count in zip(times.tolist(), counts.tolist(), strict=True):
            begin = presence.time(hour * HOUR - presence.offset)
            label = f"hour {hour}" if untimed or begin is None else begin.isoformat()
            found.append((untimed, hour, HourCount(name, label, count)))
    found.sort(key=lambda entry: entry[:2])  # stable: cameras stay in order
    return [count for *_, count in found]


def dwell_times(visits: Presence) -> list[Dwell]:
    """How long people stay, by camera.

    Args:
        visits: of :meth:`.Presence.visits`.
    """
    found = []
    for camera in sorted(visits.names, key=visits.names.__getitem__):
        own = visits.taken(visits.cameras == camera)
        seconds = own.ends - own.starts
        if len(own):
            people = len(np.unique(own.people))
            found.append(
                Dwell(
                    *(visits.names[camera], people, len(own)),
                    *(float(np.median(seconds)), float(seconds.max())),
                )
            )
    return found


def flows(visits: Presence) -> Flows:
    """Ways between cameras, from each visit to the same person's next on the same clock.

    Args:
        visits: of :meth:`.Presence.visits`.
    """
    cameras = sorted(visits.names, key=visits.names.__getitem__)
    place_of = {camera: place for place, camera in enumerate(cameras)}
    places = np.array([place_of[camera] for camera in visits.cameras.tolist()], np.int64)
    outside = len(cameras)
    counts = np.zeros((outside + 1, outside + 1), np.int64)
    if len(visits):
        next_ = (visits.people[1:] == visits.people[:-1]) & (
            visits.clocks[1:] == visits.clocks[:-1]
        )
        np.add.at(counts, (places[:-1][next_], places[1:][next_]), 1)
        np.add.at(counts, (outside, places[np.append(True, ~next_)]), 1)
        np.add.at(counts, (places[np.append(~next_, True)], outside), 1)
    return Flows((*(visits.names[camera] for camera in cameras), OUTSIDE), counts)


def draw_flows(found: Flows) -> Drawing:
    """The matrix as a figure: darker is more often."""
    count = len(found.places)
    side = max(3.0, 1.2 + 0.5 * count)
    highest = max(1, int(found.counts.max(initial=0)))
    with figure("flows", (side + 0.6, side)) as (axes, svg):
        axes.grid(False)
        shade = np.zeros((count, count, 4))
        shade[..., :3] = (0.18, 0.5, 0.82)
        shade[..., 3] = 0.85 * found.counts / highest
        axes.imshow(shade)
        for (row, column), number in np.ndenumerate(found.counts):
            if number:
                axes.text(column, row, f"{number}", ha="center", va="center", color=INK)
        names = [_short(name) for name in found.places]
        axes.set_xticks(range(count), names, rotation=45, ha="right")
        axes.set_yticks(range(count), names)
        axes.set_xlabel("seen next")
        axes.set_ylabel("seen")
    return Drawing("flows", "Ways between cameras", _words(found), svg[0])


def _short(name: str) -> str:
    shown = printable(name)
    return shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 1]}…"


def _words(found: Flows) -> str:
    ways = [f"{way['from']} to {way['to']} {way['count']}" for way in found.to_rows()]
    return f"Ways between cameras: {'; '.join(ways) or 'none'}."
