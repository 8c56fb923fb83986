"""Time and memory of finding people among many tracklets, of synthetic embeddings with truth."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from reid_dhm.benchmarks.harness import peak
from reid_dhm.benchmarks.synthetic_embeddings import SyntheticEmbeddings
from reid_dhm.gallery.people.evidence import ENDPOINT, WALL_CLOCK, Appearances
from reid_dhm.gallery.people.linking.link import assign, link
from reid_dhm.gallery.people.pairs import Encounters

_TRACKLETS_PER_PERSON = 20
_CAMERAS = 16
_EVERY = 2.0  # seconds between the beginnings of a camera's tracklets
_SECONDS = (3.0, 8.0)  # of a tracklet


@dataclass(frozen=True, slots=True)
class SizeFigures:
    """Figures of one number of tracklets.

    Attributes:
        tracklets, people: how many there are.
        seconds: of a full pass, thresholds included.
        peak: bytes of memory that it took beyond its input.
        found: number of people found.
        precision, recall: over pairs of tracklets that were linked, and that should be.
        hour: tracklets of the last hour, assigned to the people of those before.
        hour_seconds: how long that took.
        hour_right: share of them that joined the person of most of their other tracklets.
    """

    tracklets: int
    people: int
    seconds: float
    peak: int
    found: int
    precision: float
    recall: float
    hour: int
    hour_seconds: float
    hour_right: float


def measure_size(count: int, dim: int = 256, seed: int = 0) -> SizeFigures:
    """Find the people of ``count`` tracklets, then assign those of the last hour once more.

    Args:
        count: number of tracklets, 20 a person in 16 cameras.
        dim: length of an embedding.
        seed: fixes them.
    """
    given, people = synthetic_appearances(count, dim, seed)
    with peak() as highest:
        start = time.perf_counter()
        found = link(given)
        seconds = time.perf_counter() - start
        memory = highest()
    last = given.starts >= given.ends.max() - 3600
    last &= np.arange(count) >= count // 2  # a small number is less than an hour
    before = replace(given, persons=np.where(last, -1, found.persons))
    start = time.perf_counter()
    added = assign(before, None, found.thresholds)
    hour_seconds = time.perf_counter() - start
    linked, right, same = pair_counts(found.persons, people)
    return SizeFigures(
        tracklets=count,
        people=len(np.unique(people)),
        seconds=seconds,
        peak=memory,
        found=len(np.unique(found.persons)),
        precision=right / max(linked, 1),
        recall=right / max(same, 1),
        hour=int(last.sum()),
        hour_seconds=hour_seconds,
        hour_right=float((added.persons == _majority(before.persons, people))[last].mean()),
    )


def synthetic_appearances(count: int, dim: int, seed: int) -> tuple[Appearances, NDArray[np.int64]]:
    """Tracklets, by time, and their people; about three at a time are in each camera's view."""
    random = np.random.default_rng(seed)
    drawn = SyntheticEmbeddings(max(1, count // _TRACKLETS_PER_PERSON), dim, seed)
    rows, people = drawn.tracklets(count)
    cameras = random.integers(1, _CAMERAS + 1, count)
    starts = np.arange(count, dtype=np.float64) * (_EVERY / _CAMERAS)
    ends = starts + random.uniform(*_SECONDS, count)
    together = [np.empty((2, 0), np.int64)]
    for camera in range(1, _CAMERAS + 1):
        own = np.flatnonzero(cameras == camera)
        for step in range(1, 1 + int(_SECONDS[1] / _EVERY) * 3):
            pair = np.stack([own[:-step], own[step:]])
            at_once = ends[pair[0]] > starts[pair[1]]
            together.append(pair[:, at_once & (people[pair[0]] != people[pair[1]])])
    first, second = np.concatenate(together, axis=1)
    frames = np.full(len(first), 10)
    unknown = np.zeros(count, ENDPOINT)
    unknown["box"] = unknown["velocity"] = np.nan
    means = rows.astype(np.float32)
    given = Appearances(
        keys=np.arange(1, count + 1),
        cameras=cameras,
        clocks=np.full(count, WALL_CLOCK),
        starts=starts,
        ends=ends,
        means=means / np.linalg.norm(means, axis=1, keepdims=True),
        entries=unknown,
        exits=unknown,
        persons=np.full(count, -1),
        together=Encounters(first, second, frames, frames, 0 * frames),
    )
    return given, people


def pair_counts(persons: NDArray[np.int64], labels: NDArray[np.int64]) -> tuple[int, int, int]:
    """Pairs that are linked, linked rightly, and of one person."""
    both = np.unique(np.stack([persons, labels]), axis=1, return_counts=True)[1]
    sizes = [np.unique(side, return_counts=True)[1] for side in (persons, labels)]
    linked, right, same = (int((n * (n - 1) // 2).sum()) for n in (sizes[0], both, sizes[1]))
    return linked, right, same


def _majority(persons: NDArray[np.int64], people: NDArray[np.int64]) -> NDArray[np.int64]:
    """(N,) the found person that most assigned tracklets of each row's true person belong to."""
    known = persons >= 0
    pairs, sizes = np.unique(np.stack([people[known], persons[known]]), axis=1, return_counts=True)
    order = np.lexsort((sizes, pairs[0]))  # of each true person the largest comes last
    best = np.full(int(people.max(initial=0)) + 1, -1, np.int64)
    best[pairs[0][order]] = pairs[1][order]
    return best[people]
