"""Pairs of images from a gallery whose answer is known without a label."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reid_dhm.errors import InputError
from reid_dhm.gallery.people.pairs import encounters, images_of_pairs, long_seen
from reid_dhm.gallery.records import Crop, Tracklet, TrackletFilter
from reid_dhm.gallery.store.gallery import GalleryStore

APART = 1.0
"""Seconds between two images of one tracklet from which they count as a pair of one person."""

_MOST_PAIRS = 200_000  # of one kind; more would only take longer


@dataclass(frozen=True, eq=False)
class KnownPairs:
    """Images of a gallery, and pairs of them.

    Attributes:
        jpegs: N images.
        tracklets: (N,) int64, number of the tracklet of every image, from 0 to T - 1.
        same: (2, P) int64 rows of images of one tracklet, taken far apart in time.
        different: (2, M) int64 rows of images of two tracklets that were seen at once.
        left_out: pairs of tracklets seen at once that are not counted, because their boxes lie on
            one body or on people who hide each other.
    """

    jpegs: list[bytes]
    tracklets: NDArray[np.int64]
    same: NDArray[np.int64]
    different: NDArray[np.int64]
    left_out: int


def known_pairs(
    gallery: GalleryStore, seconds: float = APART, limit: int = 2000, seed: int = 0
) -> KnownPairs:
    """Find the pairs of a gallery that are certain.

    Args:
        gallery: to read from.
        seconds: least time between two images of one tracklet.
        limit: most tracklets; of a larger gallery, consecutive ones of every video are taken.
        seed: of the choice.

    Raises:
        InputError: no two people were seen at once, or nobody was seen for long enough.
    """
    random = np.random.default_rng(seed)
    images: list[tuple[int, Crop]] = []
    pairs = [np.empty((2, 0), np.int64)]
    left_out = 0
    for tracklets in _chosen(gallery, limit, random):
        images += [(found.key, crop) for found in tracklets for crop in gallery.crops(found.key)]
        boxes = [gallery.boxes(found.key) for found in tracklets]
        owners = np.repeat([found.key for found in tracklets], [len(part) for part in boxes])
        joined = np.concatenate(boxes)
        met = encounters(owners, joined["frame"].astype(np.int64), joined["box"])
        pairs.append(np.stack([met.first, met.second])[:, met.two_people])
        left_out += int((~met.two_people).sum())
    keys = np.array([key for key, _ in images], np.int64)
    times = np.array([crop.time for _, crop in images])
    same = np.stack(long_seen(keys, times, seconds))
    different = np.stack(images_of_pairs(keys, *np.concatenate(pairs, axis=1)))
    if not same.size or not different.size:
        raise InputError(
            f"{gallery.folder} has {same.shape[1]} pairs of images of one tracklet {seconds:g} s "
            f"apart, and {different.shape[1]} of two people seen at once: index more footage"
        )
    return KnownPairs(
        [crop.jpeg for _, crop in images],
        np.unique(keys, return_inverse=True)[1].astype(np.int64),
        _some(same, random),
        _some(different, random),
        left_out,
    )


def _chosen(
    gallery: GalleryStore, limit: int, random: np.random.Generator
) -> Iterator[list[Tracklet]]:
    """Consecutive tracklets of every video, ``limit`` in all: such people were seen at once."""
    counts = gallery.counts()
    videos = [video for video in gallery.videos() if counts.get(video.id)]
    for number, place in enumerate(random.permutation(len(videos))):
        video = videos[place]
        share = max(1, limit // (len(videos) - number))
        keys = gallery.keys(TrackletFilter(videos=[video.hash]))
        start = int(random.integers(max(1, len(keys) - share + 1)))
        chosen = keys[start : start + share]
        limit -= len(chosen)
        yield gallery.tracklets_by_key(chosen.tolist())
        if limit <= 0:
            return


def _some(pairs: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.int64]:
    if pairs.shape[1] <= _MOST_PAIRS:
        return pairs
    return pairs[:, np.sort(random.choice(pairs.shape[1], _MOST_PAIRS, replace=False))]
