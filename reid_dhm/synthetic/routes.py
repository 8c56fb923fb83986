"""Routes of people over several places who leave and come back, for :func:`.write_clips`."""

from __future__ import annotations

import numpy as np

from reid_dhm.synthetic.clips import Walk

PLACES: tuple[tuple[int, ...], ...] = ((1, 2), (3,), (4,))
"""Cameras that see the same place: the first two at once, from different sides."""

TRAVEL_SECONDS = 15.0
"""Least time from leaving one place to entering another."""

_LONGEST_WALK = 10.0
_LONGEST_TRAVEL = 40.0  # from the beginning of a walk to that of the next
_PASSES = 0.8  # probability that a tour leads through a place


def draw_routes(
    num_people: int, seconds: float, tours: int = 2, seed: int = 0
) -> dict[int, list[Walk]]:
    """Walks of people on several tours through :data:`PLACES`, on one clock.

    Args:
        num_people: number of people; their pids are 1, 2, 3 …
        seconds: within which tours begin, spread evenly.
        tours: of each person; between them the person is nowhere.
        seed: fixes the routes.

    Returns:
        The walks of each camera, by camid from 1.

    Raises:
        ValueError: too few seconds for a tour to end before the next one begins.
    """
    spare = seconds / tours - len(PLACES) * _LONGEST_TRAVEL
    if spare < 0:
        raise ValueError(f"{tours} tours need {tours * len(PLACES) * _LONGEST_TRAVEL:g} seconds")
    rng = np.random.default_rng(seed)
    walks: dict[int, list[Walk]] = {camid: [] for place in PLACES for camid in place}
    for pid in range(1, num_people + 1):
        for tour in range(tours):
            moment = 1 + tour * seconds / tours + float(rng.uniform(0, spare))
            for place in rng.permutation(len(PLACES)).tolist():
                if rng.random() < _PASSES:
                    for camid in PLACES[place]:
                        walks[camid].append(_walk(rng, pid, camid, moment))
                moment += float(rng.uniform(_LONGEST_WALK + TRAVEL_SECONDS, _LONGEST_TRAVEL))
    return {camid: sorted(own, key=lambda walk: walk.begin) for camid, own in walks.items()}


def _walk(rng: np.random.Generator, pid: int, camid: int, moment: float) -> Walk:
    return Walk(
        pid=pid,
        camid=camid,
        begin=moment,
        rightwards=bool(rng.random() < 0.5),
        feet=(float(rng.uniform(0.72, 0.96)), float(rng.uniform(0.72, 0.96))),
    )
