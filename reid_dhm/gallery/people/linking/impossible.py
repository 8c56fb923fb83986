"""Pairs of tracklets that cannot be one person, whatever they look like."""

from __future__ import annotations

import numpy as np

from reid_dhm.gallery.people.evidence import WALL_CLOCK, Appearances
from reid_dhm.gallery.people.graph.agglomeration import Pairs
from reid_dhm.gallery.people.graph.motion import ragged_ranges
from reid_dhm.gallery.store.travel import TravelTimes


def impossible_pairs(appearances: Appearances, travel_times: TravelTimes) -> Pairs:
    """Pairs seen at once in one camera's view, or in two cameras too far apart for the time.

    Boxes that share much of their area may be two on one body, and prove nothing. Travel is judged
    between wall-clock times only.

    Args:
        appearances: N tracklets.
        travel_times: by camera ids; cameras without an entry may show one person at once.
    """
    together = appearances.together
    two = together.two_people
    found = [(together.first[two], together.second[two])]
    for (one, other), seconds in travel_times.items():
        found.append(_too_fast(appearances, one, other, seconds))
    first, second = (np.concatenate(side) for side in zip(*found, strict=True))
    return np.minimum(first, second), np.maximum(first, second)


def _too_fast(appearances: Appearances, one: int, other: int, seconds: float) -> Pairs:
    """Pairs of two cameras with less than ``seconds`` between them."""
    timed = appearances.clocks == WALL_CLOCK
    left = np.flatnonzero(timed & (appearances.cameras == one))
    right = np.flatnonzero(timed & (appearances.cameras == other))
    right = right[np.argsort(appearances.starts[right], kind="stable")]
    starts = appearances.starts[right]
    longest = (appearances.ends - appearances.starts)[right].max(initial=0)
    low = np.searchsorted(starts, appearances.starts[left] - seconds - longest, "right")
    high = np.searchsorted(starts, appearances.ends[left] + seconds, "left")
    pair, place = ragged_ranges(low, high)
    rows = left[pair], right[place]
    gap = appearances.starts[rows[0]] - appearances.ends[rows[1]] < seconds
    return rows[0][gap], rows[1][gap]
