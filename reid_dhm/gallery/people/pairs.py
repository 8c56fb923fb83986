"""Pairs whose answer is known without a label: two people seen at once, one person seen long.

Arrays alone. Two tracklets in one frame are two people, unless their boxes lie on one body; images
of one tracklet that were taken far apart in time show one person.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from reid_dhm.gallery.track.geometry import shared_area

_APART = 0.3  # share of the smaller box up to which two boxes are on two bodies
_COVERED = 0.6  # share of the smaller box from which two boxes may be on one body


class Encounters(NamedTuple):
    """Pairs of tracklets that were seen in the same frames of one video.

    On a real clip (OpenCV's vtest.avi, tracked with YOLOX-Nano), people are known for 313 pairs:
    ``two_people`` holds for 301, all of them right. The other 12 are eight pairs of tracklets on
    one body, and four of people who hide each other.

    Attributes:
        first, second: (P,) int64 tracklets, ``first`` below ``second``, each pair once, ascending.
        frames: (P,) int64, frames that show both.
        apart: (P,) int64, of these, frames in which the boxes share at most 0.3 of the smaller one.
        covered: (P,) int64, of these, frames in which they share 0.6 of the smaller one or more.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    frames: NDArray[np.int64]
    apart: NDArray[np.int64]
    covered: NDArray[np.int64]

    @property
    def two_people(self) -> NDArray[np.bool_]:
        """(P,) whether the two are certainly two people: apart in half of their frames or more."""
        return 2 * self.apart >= self.frames

    @property
    def same_body(self) -> NDArray[np.bool_]:
        """(P,) whether one box covers the other in most of their frames.

        Either two boxes on one body, or one person hiding another: no proof of either.
        """
        return 2 * self.covered > self.frames


def encounters(
    tracklets: NDArray[np.int64], frames: NDArray[np.int64], boxes: NDArray[np.floating]
) -> Encounters:
    """The pairs of tracklets of one video that were seen in the same frames.

    Args:
        tracklets: (N,) int64, the tracklet of every box, by any number such as its key.
        frames: (N,) int64, its frame.
        boxes: (N, 4), x1, y1, x2, y2 in pixels.
    """
    order = np.argsort(frames, kind="stable")
    names, owner = np.unique(tracklets[order], return_inverse=True)
    frame, box = frames[order], boxes[order].astype(np.float64)
    found = [np.empty((0, 4), np.int64)]
    for step in range(1, _most_in_one_frame(frame)):
        # Each box with the one `step` places further, where both are in the same frame.
        left = np.flatnonzero(frame[step:] == frame[:-step])
        left = left[owner[left] != owner[left + step]]
        share = shared_area(box[left], box[left + step])
        pair = np.sort(np.stack([owner[left], owner[left + step]]), axis=0)
        found.append(_counted(pair[0] * len(names) + pair[1], share <= _APART, share >= _COVERED))
    together = np.concatenate(found)
    pairs, place = np.unique(together[:, 0], return_inverse=True)
    counts = np.zeros((len(pairs), 3), np.int64)
    np.add.at(counts, place, together[:, 1:])
    return Encounters(names[pairs // len(names)], names[pairs % len(names)], *counts.T)


def long_seen(
    tracklets: NDArray[np.int64], times: NDArray[np.floating], seconds: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of images of one tracklet that were taken at least ``seconds`` apart: one person.

    Args:
        tracklets: (N,) int64, the tracklet of every image.
        times: (N,) seconds from the start of its video.
        seconds: 0 or more.

    Returns:
        (P,) and (P,) int64 rows of the two images of every pair.
    """
    order = np.lexsort((times, tracklets))
    owner, time = tracklets[order], times[order]
    most = int(np.unique(owner, return_counts=True)[1].max(initial=0))
    pairs = [np.empty((2, 0), np.int64)]
    for step in range(1, most):
        left = np.flatnonzero(owner[step:] == owner[:-step])
        left = left[time[left + step] - time[left] >= seconds]
        pairs.append(np.stack([order[left], order[left + step]]))
    first, second = np.concatenate(pairs, axis=1)
    return first, second


def images_of_pairs(
    tracklets: NDArray[np.int64], first: NDArray[np.int64], second: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Every image of one tracklet with every image of another, for each pair of tracklets.

    Args:
        tracklets: (N,) int64, the tracklet of every image.
        first, second: (P,) int64 tracklets; those without images give no pairs.

    Returns:
        (M,) and (M,) int64 rows of the two images of every pair.
    """
    order = np.argsort(tracklets, kind="stable")
    owner = tracklets[order]
    begin = [np.searchsorted(owner, side, "left") for side in (first, second)]
    count = [
        np.searchsorted(owner, side, "right") - start
        for side, start in zip((first, second), begin, strict=True)
    ]
    products = count[0] * count[1]
    pair = np.repeat(np.arange(len(products)), products)
    place = np.arange(len(pair)) - np.repeat(np.cumsum(products) - products, products)
    rows = begin[0][pair] + place // count[1][pair], begin[1][pair] + place % count[1][pair]
    return order[rows[0]], order[rows[1]]


def _most_in_one_frame(frames: NDArray[np.int64]) -> int:
    return int(np.unique(frames, return_counts=True)[1].max(initial=0))


def _counted(
    pairs: NDArray[np.int64], apart: NDArray[np.bool_], covered: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """(U, 4) int64: each pair once, with how often it occurs, is apart and is covered."""
    unique, place = np.unique(pairs, return_inverse=True)
    counts = [np.bincount(place, weights, len(unique)) for weights in (None, apart, covered)]
    return np.stack([unique, *counts], axis=1).astype(np.int64)
