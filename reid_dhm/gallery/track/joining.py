"""Joins the pieces that a track breaks into when its person is hidden, by appearance and place.

How alike two pieces must be comes from the video itself: people seen at once are two, and the
halves of one piece are one. Reading and writing pieces is left to
:mod:`reid_dhm.gallery.store.joining`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from reid_dhm.gallery.track.geometry import shared_area

# Measured in docs/results/gallery_vtest.md; the same on rendered footage (benchmarks/footage.py).
_GAP = 3.0  # seconds that a person may be hidden
_OVERLAP = 0.25  # seconds that two pieces of one person may be seen at once
_REACH = 0.5  # body heights between where a piece ends and the next one begins …
_PACE = 0.5  # … and per second of the gap more
_GROWTH = 1.65  # most that the height changes
_LEAVING = 0.1  # body heights per second towards an edge of the frame that the box touches
_EDGE = 2.0  # pixels
_MOTION = 1.0  # seconds over which speed is measured
_LONG = 2.0  # seconds from which a piece's halves tell how alike one person's images are
_APART = 0.3  # share of the smaller box up to which two boxes are on two bodies
_TWO_PEOPLE = 0.95  # quantile of the similarity of two people
_BRIEF = 0.4  # seconds below which a piece where people meet is most likely a box around two …
_MEETING = 0.5  # … and another's box was or is near, within so many seconds
_BY_DISTANCE, _BY_GAP = 0.1, 0.02  # similarity lost per body height and second


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """A tracklet that may be a part of a longer one.

    Attributes:
        key: of its row.
        boxes: (N,) :data:`~reid_dhm.gallery.records.DETECTION`, in frame order.
        embeddings: (K, D) float32 unit rows of its crops, in order of time.
        closed: never joined nor dropped, because a user has said who it is.
    """

    key: int
    boxes: NDArray[np.void]
    embeddings: NDArray[np.float32]
    closed: bool = False


class Joins(NamedTuple):
    """What belongs together.

    Attributes:
        chains: keys of the pieces of one track each, two or more, in order of time.
        brief: keys of pieces too short to be believed where people meet.
    """

    chains: Sequence[Sequence[int]]
    brief: Sequence[int]


class _Candidate(NamedTuple):
    """A piece and a possible next one, by key."""

    score: float
    similarity: float
    first: int
    second: int


class _Place(NamedTuple):
    """Where a piece begins or ends: time, centre, speed in pixels per second, height."""

    time: float
    centre: NDArray[np.float64]
    speed: NDArray[np.float64]
    height: float


def find_joins(pieces: Iterable[Piece], size: tuple[int, int], longest: float) -> Joins:
    """Which pieces of one video belong together.

    A piece is followed by the one that is most like it among those that begin within three seconds
    of its end, near to where its movement leads, at a similar height; not if it left the
    frame. Best pairs first; every piece has one successor and one predecessor at most.

    Args:
        pieces: in order of their first box's time; few are kept in memory at a time.
        size: height and width of the frames.
        longest: seconds that no joined track exceeds.
    """
    spans: dict[int, tuple[float, float]] = {}
    one_person: list[float] = []
    two_people: list[float] = []
    apart: set[tuple[int, int]] = set()
    candidates: list[_Candidate] = []
    closed: set[int] = set()
    doubtful: set[int] = set()
    recent: list[Piece] = []
    for piece in pieces:
        start = _start(piece)
        recent = [other for other in recent if _end(other) >= start - _GAP]
        for other in recent:
            doubtful |= {
                one.key for one in (other, piece) if _is_brief(one) and _meet(other, piece)
            }
            similarity = float(_mean(other.embeddings) @ _mean(piece.embeddings))
            if _are_two(other.boxes, piece.boxes):
                two_people.append(similarity)
                apart |= {(other.key, piece.key), (piece.key, other.key)}
            elif (away := _distance(other, piece, size)) is not None:
                lost = _BY_DISTANCE * away + _BY_GAP * max(0.0, start - _end(other))
                score = similarity - lost
                candidates.append(_Candidate(score, similarity, other.key, piece.key))
        one_person += _halves(piece)
        spans[piece.key] = start, _end(piece)
        recent.append(piece)
        if piece.closed:
            closed.add(piece.key)
    least = _least_similarity(one_person, two_people)
    alike = [c for c in candidates if c.similarity >= least and not {c.first, c.second} & closed]
    following = _best_first(alike, apart, spans, longest)
    chains = list(_chains(following))
    joined = {key for chain in chains for key in chain} | closed
    return Joins(chains, sorted(doubtful - joined))


def _least_similarity(one_person: Sequence[float], two_people: Sequence[float]) -> float:
    """Similarity from which two pieces are one person's; infinite where the video tells nothing.

    Halfway between what people seen at once reach and what the halves of a piece usually have;
    where nobody was seen at once, the latter.
    """
    if not one_person:
        return np.inf
    one = float(np.median(one_person))
    two = float(np.quantile(two_people, _TWO_PEOPLE)) if two_people else one
    return max(two, (one + two) / 2)


def _best_first(
    candidates: Sequence[_Candidate],
    apart: AbstractSet[tuple[int, int]],
    spans: Mapping[int, tuple[float, float]],
    longest: float,
) -> dict[int, int]:
    """The successor of every piece that has one, by key; no chain holds two that are ``apart``."""
    following: dict[int, int] = {}
    before: set[int] = set()
    first_of = {key: key for key in spans}  # of the last piece of a chain: its first one
    last_of = {key: key for key in spans}
    chain_of = {key: [key] for key in spans}
    for _, _, first, second in sorted(candidates, key=lambda c: (-c.score, c.first, c.second)):
        if first in following or second in before:
            continue
        begin, end = first_of[first], last_of[second]
        if spans[end][1] - spans[begin][0] > longest:
            continue
        if any(pair in apart for pair in product(chain_of[begin], chain_of[second])):
            continue
        following[first] = second
        before.add(second)
        last_of[begin], first_of[end] = end, begin
        chain_of[begin] += chain_of.pop(second)
    return following


def _chains(following: Mapping[int, int]) -> Iterator[list[int]]:
    for first in sorted(following.keys() - set(following.values())):
        chain = [first]
        while chain[-1] in following:
            chain.append(following[chain[-1]])
        yield chain


def _halves(piece: Piece) -> list[float]:
    """The similarity of a long piece's first crops to its last; nothing of a short one."""
    half = len(piece.embeddings) // 2
    if half < 2 or _end(piece) - _start(piece) < _LONG:
        return []
    return [float(_mean(piece.embeddings[:half]) @ _mean(piece.embeddings[half:]))]


def _are_two(first: NDArray[np.void], second: NDArray[np.void]) -> bool:
    """Whether two pieces are certainly two people: seen at once, mostly apart."""
    both, left, right = np.intersect1d(first["frame"], second["frame"], return_indices=True)
    if not len(both):
        return False
    shared = shared_area(first["box"][left], second["box"][right])
    return 2 * int((shared <= _APART).sum()) >= len(both)


def _is_brief(piece: Piece) -> bool:
    return _end(piece) - _start(piece) < _BRIEF - 1e-6


def _meet(first: Piece, second: Piece) -> bool:
    """Whether a box of one lies on one of the other, half a second earlier or later at most."""
    apart = np.abs(first.boxes["time"][:, None] - second.boxes["time"])
    left, right = np.nonzero(apart <= _MEETING)
    shared = shared_area(first.boxes["box"][left], second.boxes["box"][right])
    return bool((shared > _APART).any())


def _distance(first: Piece, second: Piece, size: tuple[int, int]) -> float | None:
    """Body heights between the end of a piece and the begin of another; None if out of reach."""
    gap = _start(second) - _end(first)
    later = _start(second) > _start(first) and _end(second) > _end(first)
    if not later or not -_OVERLAP <= gap <= _GAP or _left_the_frame(first, size):
        return None
    end, begin = _place(first.boxes, -1), _place(second.boxes, 0)
    growth = max(end.height, begin.height) / min(end.height, begin.height)
    hidden = max(0.0, gap)
    steps = begin.centre - end.centre
    ways = (steps, steps - hidden * end.speed, steps - hidden * begin.speed)
    away = min(float(np.linalg.norm(way)) for way in ways) / ((end.height + begin.height) / 2)
    return away if growth <= _GROWTH and away <= _REACH + _PACE * hidden else None


def _left_the_frame(piece: Piece, size: tuple[int, int]) -> bool:
    """Whether the last box touches an edge of the frame that its person was walking towards."""
    place = _place(piece.boxes, -1)
    x1, y1, x2, y2 = piece.boxes["box"][-1].tolist()
    room = np.array([x1, y1, size[1] - x2, size[0] - y2])
    across, down = place.speed
    outwards = np.array([-across, -down, across, down]) / place.height
    return bool(((room <= _EDGE) & (outwards > _LEAVING)).any())


def _place(boxes: NDArray[np.void], which: int) -> _Place:
    """Where a piece is at its last box (-1) or its first (0)."""
    time = float(boxes["time"][which])
    near = boxes[np.abs(boxes["time"] - time) <= _MOTION]
    corners = near["box"].astype(np.float64)
    centres = (corners[:, :2] + corners[:, 2:]) / 2
    moments = near["time"] - near["time"].mean()
    spread = float(moments @ moments)
    speed = moments @ centres / spread if len(near) > 2 else np.zeros(2)
    return _Place(time, centres[which], speed, float(np.median(corners[:, 3] - corners[:, 1])))


def _mean(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """The unit vector along the mean of rows."""
    mean = rows.astype(np.float64).mean(axis=0)
    return np.asarray(mean / max(float(np.linalg.norm(mean)), np.finfo(np.float32).tiny))


def _start(piece: Piece) -> float:
    return float(piece.boxes["time"][0])


def _end(piece: Piece) -> float:
    return float(piece.boxes["time"][-1])
