"""Which two people might be one: pairs to ask a user about, the most useful first.

An answer is a statement (:mod:`reid_dhm.gallery.store.statements`): a merge, or that two people are
told apart. Neither is asked about again.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from reid_dhm.gallery.people.graph.similarity import camera_means, nearest, without_camera
from reid_dhm.gallery.people.pairs import encounters
from reid_dhm.gallery.records import EmbeddingPage, Tracklet
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.store.people import different, members, people

_NEAREST = 8  # people with whom each is compared
# On vtest.avi, as one camera and cut into two, with this the one right pair was among the first
# five questions; by similarity alone among the first ten.
_PER_TRACKLET = 0.1


@dataclass(frozen=True, slots=True)
class Question:
    """Two people who might be one.

    Attributes:
        first, second: their numbers, ``first`` below ``second``.
        similarity: mean cosine of their tracklets, each less its camera's mean, -1 to 1.
    """

    first: int
    second: int
    similarity: float


def read_questions(gallery: GalleryStore, limit: int = 20) -> list[Question]:
    """The pairs of people whose answer is expected to correct most.

    The more alike two people are, the more likely is a yes, and a yes corrects as many pairs of
    tracklets as the product of their numbers: pairs are ordered by similarity, plus a little for
    people of many tracklets. Left out are hidden people, pairs that were told apart, and pairs of
    whom one camera saw both at once.

    Args:
        gallery: which.
        limit: most pairs to return.
    """
    with gallery.snapshot():
        known = members(gallery)
        shown = [person.id for person in people(gallery) if not person.hidden]
        cannot, pages = different(gallery), list(gallery.pages())
    mine = known.keys[np.isin(known.people, shown)]
    owner = known.people[np.isin(known.people, shown)]
    numbers, rows = np.unique(owner, return_inverse=True)
    if len(numbers) < 2:
        return []
    page = _joined(pages)
    place = np.searchsorted(page.keys, mine)
    cameras = page.cameras[place]
    means = page.embeddings[place].astype(np.float32)
    vectors = without_camera(means, cameras, camera_means(means, cameras))
    sums = np.zeros((len(numbers), vectors.shape[1]), np.float32)
    np.add.at(sums, rows, vectors)
    count = np.bincount(rows)
    unit = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
    lists = nearest(unit, np.arange(len(unit)), _NEAREST + 1)[:, 1:]
    first = np.repeat(np.arange(len(unit)), lists.shape[1])
    pairs = np.stack([first, lists.ravel()], axis=1)
    pairs = np.unique(np.sort(pairs[pairs[:, 1] >= 0], axis=1), axis=0)
    one, other = pairs.T
    similarity = np.einsum("nd,nd->n", sums[one], sums[other]) / (count[one] * count[other])
    worth = similarity + _PER_TRACKLET * np.log(count[one] * count[other])
    told = _told_apart(cannot, mine, rows)
    seen = _Seen(gallery, mine, rows)
    found: list[Question] = []
    for pair in np.argsort(-worth, kind="stable").tolist():
        a, b = int(one[pair]), int(other[pair])
        if (a, b) not in told and not seen.at_once(a, b):
            found.append(Question(int(numbers[a]), int(numbers[b]), float(similarity[pair])))
        if len(found) == limit:
            break
    return found


class _Seen:
    """Who was seen at once, read as far as it is asked."""

    def __init__(self, gallery: GalleryStore, keys: NDArray[np.int64], rows: NDArray[np.int64]):
        self._gallery = gallery
        order = np.argsort(rows, kind="stable")
        bounds = np.searchsorted(rows[order], np.arange(rows.max() + 2))
        self._keys = [keys[order[a:b]] for a, b in pairwise(bounds.tolist())]
        self.tracklets = cache(lambda row: gallery.tracklets_by_key(self._keys[row].tolist()))
        self._boxes = cache(gallery.boxes)

    def at_once(self, one: int, other: int) -> bool:
        """Whether one camera saw both people at once, and not as two boxes on one body."""
        by_video: dict[str, list[Tracklet]] = {}
        for tracklet in self.tracklets(other):
            by_video.setdefault(tracklet.id.video, []).append(tracklet)
        return any(
            self._are_two(mine, theirs)
            for mine in self.tracklets(one)
            for theirs in by_video.get(mine.id.video, ())
            if mine.first_frame <= theirs.last_frame and theirs.first_frame <= mine.last_frame
        )

    def _are_two(self, one: Tracklet, other: Tracklet) -> bool:
        boxes = [self._boxes(each.key) for each in (one, other)]
        owner = np.repeat([0, 1], [len(each) for each in boxes])
        every = np.concatenate(boxes)
        return bool(encounters(owner, every["frame"], every["box"]).two_people.any())


def _joined(pages: list[EmbeddingPage]) -> EmbeddingPage:
    return EmbeddingPage(*(np.concatenate(column) for column in zip(*pages, strict=True)))


def _told_apart(
    cannot: NDArray[np.int64], keys: NDArray[np.int64], rows: NDArray[np.int64]
) -> set[tuple[int, int]]:
    """Pairs of people of whom two tracklets were said to be two people."""
    cannot = cannot[np.isin(cannot, keys).all(axis=1)]
    found = np.sort(rows[np.searchsorted(keys, cannot)], axis=1)
    return {(a, b) for a, b in found.tolist()}
