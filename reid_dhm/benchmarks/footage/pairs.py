"""How well an embedder tells people apart on real footage whose people are known.

Tracklets are given, so that every embedder is judged on the same boxes. A tracklet belongs to a
person if most of its boxes match that person's true boxes. Its embedding is the mean over a few
evenly spaced boxes; every ordered pair of tracklets of one person is a query and its answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import supervision as sv
from numpy.typing import NDArray

from reid_dhm.errors import InputError
from reid_dhm.gallery.detect.mot import read_mot

Embed = Callable[[Sequence[NDArray[np.uint8]]], NDArray[np.float32]]

BOXES_PER_TRACKLET = 8
MIN_IOU = 0.4
MIN_SHARE = 0.7
FALSE_POSITIVE_RATE = 0.01


@dataclass(frozen=True, eq=False)
class Boxes:
    """Boxes of tracklets, or of people.

    Attributes:
        frames: (N,) int64, from 0.
        ids: (N,) int64.
        corners: (N, 4) float64 x1, y1, x2, y2 in pixels from 0.
    """

    frames: NDArray[np.int64]
    ids: NDArray[np.int64]
    corners: NDArray[np.float64]

    def renamed(self, ids: NDArray[np.int64]) -> Boxes:
        """The same boxes under other ids (N,)."""
        return Boxes(self.frames, ids, self.corners)


@dataclass(frozen=True, slots=True)
class PairFigures:
    """How an embedder separates the people of a clip.

    Attributes:
        tracklets, people: that are labelled.
        rank1: share of ordered pairs of one person whose answer is more similar to the query than
            every tracklet of another person and every tracklet without a label.
        tpr: share of same-person pairs above the similarity that lets ``FALSE_POSITIVE_RATE`` of
            the different-person pairs pass.
    """

    tracklets: int
    people: int
    rank1: float
    tpr: float


def read_boxes(path: Path) -> Boxes:
    """The boxes of a MOTChallenge file.

    Raises:
        InputError: the file is missing, empty, or has a line of other content.
    """
    rows = read_mot(path)
    if not len(rows):
        raise InputError(f"{path} holds no boxes")
    return Boxes(rows["frame"], rows["id"], rows["box"])


def read_people(path: Path) -> dict[int, int]:
    """Which ids are one person: ``description: id id …`` a line; id → number of the line's person.

    Raises:
        InputError: the file is missing, or a line has no ids.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist: give a file that joins the ids of one person")
    people: dict[int, int] = {}
    lines = [line for line in path.read_text().splitlines() if line.strip()]
    for person, line in enumerate(line for line in lines if not line.startswith("#")):
        _, _, ids = line.rpartition(":")
        if not ids.split() or not all(part.isdigit() for part in ids.split()):
            raise InputError(f"{path}: {line!r} has no ids: write `description: 3 11`")
        people.update({int(part): person for part in ids.split()})
    return people


def label_tracklets(
    tracklets: Boxes, truth: Boxes, people: Mapping[int, int] | None = None
) -> dict[int, int]:
    """Tracklet id → person, for tracklets of which ``MIN_SHARE`` of the boxes match one person.

    A box matches the true box of its frame that it overlaps most, at an IoU of ``MIN_IOU`` or more.

    Args:
        tracklets, truth: boxes of the same clip.
        people: true id → person; by default every true id is a person.
    """
    votes: dict[int, list[int]] = {int(id): [] for id in np.unique(tracklets.ids)}
    for frame in np.unique(tracklets.frames):
        here = np.flatnonzero(tracklets.frames == frame)
        there = np.flatnonzero(truth.frames == frame)
        if not len(there):
            continue
        overlap = sv.box_iou_batch(tracklets.corners[here], truth.corners[there])
        matches = zip(here, overlap.argmax(axis=1), overlap.max(axis=1), strict=True)
        for row, nearest, iou in matches:
            if iou >= MIN_IOU:
                id = int(truth.ids[there[nearest]])
                votes[int(tracklets.ids[row])].append(people[id] if people else id)
    labels = {}
    for tracklet, persons in votes.items():
        if not persons:
            continue
        found, counts = np.unique(persons, return_counts=True)
        if counts.max() >= MIN_SHARE * int((tracklets.ids == tracklet).sum()):
            labels[tracklet] = int(found[counts.argmax()])
    return labels


def crops(
    video: Path, tracklets: Boxes, wanted: Sequence[int]
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Tracklet id and RGB crop of every evenly spaced box of the wanted tracklets, by frame.

    Raises:
        InputError: the video ends before the last of these boxes.
    """
    rows: dict[int, list[int]] = {}
    for id in wanted:
        own = np.flatnonzero(tracklets.ids == id)
        own = own[np.argsort(tracklets.frames[own], kind="stable")]
        even = np.linspace(0, len(own) - 1, min(BOXES_PER_TRACKLET, len(own)))
        for row in own[np.unique(even.round().astype(int))]:
            rows.setdefault(int(tracklets.frames[row]), []).append(int(row))
    capture = cv2.VideoCapture(str(video))
    try:
        for frame in range(max(rows) + 1):
            read, image = capture.read()
            if not read:
                raise InputError(f"{video} has {frame} frames: the boxes need {max(rows) + 1}")
            for row in rows.get(frame, ()):
                height, width = image.shape[:2]
                corner = np.clip(tracklets.corners[row].round(), 0, [width, height] * 2)
                x1, y1, x2, y2 = corner.astype(int)
                crop = image[y1 : max(y2, y1 + 1), x1 : max(x2, x1 + 1), ::-1]
                yield int(tracklets.ids[row]), np.ascontiguousarray(crop, np.uint8)
    finally:
        capture.release()


def tracklet_means(
    embed: Embed, video: Path, tracklets: Boxes, wanted: Sequence[int]
) -> NDArray[np.float64]:
    """(len(wanted), D) unit means over each tracklet's evenly spaced boxes."""
    ids, images = zip(*crops(video, tracklets, wanted), strict=True)
    embeddings = np.asarray(embed(images), np.float64)
    owner = np.asarray(ids)
    means = np.stack([embeddings[owner == id].mean(axis=0) for id in wanted])
    return np.asarray(means / np.linalg.norm(means, axis=1, keepdims=True), np.float64)


def pair_figures(means: NDArray[np.float64], people: NDArray[np.int64]) -> PairFigures:
    """Figures over all pairs of tracklets.

    Args:
        means: (N, D) unit rows.
        people: (N,) person of each, -1 where it is not known.

    Raises:
        InputError: no person has two tracklets, or there is one person alone.
    """
    similarity = means @ means.T
    known = people >= 0
    both = known[:, None] & known[None, :]
    same = both & (people[:, None] == people[None, :])
    stranger = ~same
    np.fill_diagonal(same, False)
    upper = np.triu(np.ones_like(same), 1)
    negatives, positives = similarity[stranger & both & upper], similarity[same & upper]
    if not len(negatives) or not len(positives):
        raise InputError("pairs need two people, and a person with two tracklets")
    np.fill_diagonal(stranger, False)
    nearest_stranger = np.where(stranger, similarity, -np.inf).max(axis=1)
    threshold = np.quantile(negatives, 1 - FALSE_POSITIVE_RATE)
    return PairFigures(
        tracklets=int(known.sum()),
        people=len(np.unique(people[known])),
        rank1=float((similarity > nearest_stranger[:, None])[same].mean()),
        tpr=float((positives > threshold).mean()),
    )


def measure(
    embed: Embed, video: Path, tracklets: Path, truth: Path, people: Path | None = None
) -> PairFigures:
    """Figures of an embedder on a clip.

    Args:
        embed: N RGB uint8 crops to (N, D) embeddings.
        video: the clip.
        tracklets, truth: MOTChallenge lines of tracklets and of the true people.
        people: joins the true ids of one person; see :func:`read_people`.
    """
    boxes = read_boxes(tracklets)
    joined = read_people(people) if people is not None else None
    labels = label_tracklets(boxes, read_boxes(truth), joined)
    wanted = [int(id) for id in np.unique(boxes.ids)]
    means = tracklet_means(embed, video, boxes, wanted)
    return pair_figures(means, np.array([labels.get(id, -1) for id in wanted], np.int64))
