"""How well people are told apart on footage whose people are known: figures by an independent tool.

Tracklets count as a person's if most of their boxes match that person's true boxes. IDF1 is the
``trackers`` library's, over the boxes of all cameras together.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from reid_dhm.benchmarks.footage.pairs import Boxes, label_tracklets
from reid_dhm.benchmarks.people.size import pair_counts
from reid_dhm.gallery.people.evidence import Appearances, read_appearances
from reid_dhm.gallery.people.linking.link import Constraints, link
from reid_dhm.gallery.people.thresholds.calibration import PeopleThresholds
from reid_dhm.gallery.store.gallery import GalleryStore

SECONDS = 2.0
"""In view, above which a person counts."""

_BANDS = ((0.0, 0.1), (0.1, 0.5), (0.5, 0.9), (0.9, 0.99), (0.99, 1.0))


class Band(NamedTuple):
    """Pairs of labelled tracklets whose stated probability lies in a band.

    Attributes:
        low, high: of the band.
        pairs: how many.
        right: share that shows one person; NaN without pairs.
    """

    low: float
    high: float
    pairs: int
    right: float


@dataclass(frozen=True, slots=True)
class PeopleFigures:
    """Figures of one assignment of tracklets to people.

    Attributes:
        tracklets, labelled: how many there are, and how many are a known person's.
        idf1: of people over all cameras.
        precision, recall: over pairs of labelled tracklets that were linked, and that should be.
        wrong_pairs: linked pairs of two people, and pairs of one person that were not linked.
        people: found people who are in view for more than two seconds.
        true_people: true ones.
    """

    tracklets: int
    labelled: int
    idf1: float
    precision: float
    recall: float
    wrong_pairs: int
    people: int
    true_people: int


class KnownGallery:
    """The tracklets of a gallery whose people are known.

    Args:
        gallery: indexed footage.
        truth: true boxes of every camera, by its name; their ids are people.

    Attributes:
        appearances: its tracklets.
        labels: (N,) true person of each; -1 where it is not known.
    """

    def __init__(self, gallery: GalleryStore, truth: Mapping[str, Boxes]) -> None:
        self.appearances: Appearances = read_appearances(gallery)
        self._found = [gallery.boxes(int(key)) for key in self.appearances.keys]
        self._truth = {gallery.camera(name).id: boxes for name, boxes in truth.items()}
        self.labels = np.full(len(self.appearances), -1, np.int64)
        for camera, boxes in self._truth.items():
            rows = np.flatnonzero(self.appearances.cameras == camera)
            for row, person in label_tracklets(self._boxes(rows, rows), boxes).items():
                self.labels[row] = person

    def figures(self, persons: NDArray[np.int64]) -> PeopleFigures:
        """Figures of (N,) people."""
        known = self.labels >= 0
        linked, right, same = pair_counts(persons[known], self.labels[known])
        seconds = np.array([len(boxes) for boxes in self._found]) * self._frame_seconds()
        return PeopleFigures(
            tracklets=len(persons),
            labelled=int(known.sum()),
            idf1=self._idf1(persons),
            precision=right / max(linked, 1),
            recall=right / max(same, 1),
            wrong_pairs=linked + same - 2 * right,
            people=int((np.bincount(persons, seconds) > SECONDS).sum()),
            true_people=len(np.unique(np.concatenate([b.ids for b in self._truth.values()]))),
        )

    def bands(self, thresholds: PeopleThresholds) -> list[Band]:
        """Stated match probabilities against the truth, over pairs of which nothing is known."""
        given = self.appearances
        stated, same = [], []
        first, second = np.triu_indices(len(given), 1)
        known = (self.labels[first] >= 0) & (self.labels[second] >= 0)
        together = given.together.first * len(given) + given.together.second
        known &= ~np.isin(first * len(given) + second, together)
        first, second = first[known], second[known]
        cosines = np.einsum("nd,nd->n", given.means[first], given.means[second])
        for one, other in thresholds.by_cameras:
            cameras = np.sort([given.cameras[first], given.cameras[second]], axis=0)
            rows = np.flatnonzero((cameras[0] == one) & (cameras[1] == other))
            probability = thresholds.probability(cosines[rows], one, other)
            assert probability is not None
            stated.append(probability)
            same.append(self.labels[first[rows]] == self.labels[second[rows]])
        p, right = (np.concatenate([np.empty(0), *parts]) for parts in (stated, same))
        found = []
        for low, high in _BANDS:
            inside = (p >= low) & ((p < high) | (high == 1))
            share = float(right[inside].mean()) if inside.any() else float("nan")
            found.append(Band(low, high, int(inside.sum()), share))
        return found

    def corrected(self, persons: NDArray[np.int64], links: int, splits: int) -> Constraints:
        """What a user would say first: the largest people found twice, the largest mixed ones.

        Args:
            persons: (N,) as found.
            links: pairs of one person's tracklets in two found people.
            splits: pairs of two people's tracklets in one found person.
        """
        return Constraints(
            must=self._largest(self.labels, persons, links),
            cannot=self._largest(persons, self.labels, splits),
        )

    def _largest(
        self, group: NDArray[np.int64], part: NDArray[np.int64], count: int
    ) -> NDArray[np.int64]:
        """(count, 2) keys of tracklets of one group and two parts, largest second part first."""
        pairs = []
        known = self.labels >= 0
        for one in np.unique(group[known]):
            rows = np.flatnonzero(known & (group == one))
            parts, first, sizes = np.unique(part[rows], return_index=True, return_counts=True)
            order = np.argsort(-sizes, kind="stable")
            if len(parts) > 1:
                pairs.append((int(sizes[order[1]]), *rows[first[order[:2]]].tolist()))
        best = sorted(pairs, reverse=True)[:count]
        chosen = np.array([pair[1:] for pair in best], np.int64).reshape(-1, 2)
        return self.appearances.keys[chosen]

    def _boxes(self, rows: NDArray[np.int64], ids: NDArray[np.int64]) -> Boxes:
        """Boxes of these rows under these ids."""
        found = [self._found[row] for row in rows]
        frames = [boxes["frame"].astype(np.int64) for boxes in found]
        owners = [np.full(len(f), own, np.int64) for f, own in zip(frames, ids, strict=True)]
        corners = [boxes["box"].astype(np.float64) for boxes in found]
        empty = np.empty(0, np.int64)
        return Boxes(
            np.concatenate([empty, *frames]),
            np.concatenate([empty, *owners]),
            np.concatenate([np.empty((0, 4)), *corners]),
        )

    def _frame_seconds(self) -> NDArray[np.float64]:
        """(N,) seconds between the boxes of each tracklet."""
        given = self.appearances
        counts = np.array([len(boxes) for boxes in self._found])
        step = np.median((given.ends - given.starts) / np.maximum(counts - 1, 1))
        return np.full(len(counts), step)

    def _idf1(self, persons: NDArray[np.int64]) -> float:
        """Over all cameras, one after the other in one sequence."""
        from trackers.eval import evaluate_mot_sequence

        true: list[tuple[int, str]] = []
        found: list[tuple[int, str]] = []
        later = 0
        for camera, truth in sorted(self._truth.items()):
            rows = np.flatnonzero(self.appearances.cameras == camera)
            boxes = self._boxes(rows, persons[rows])
            true += _mot_lines(truth, later)
            found += _mot_lines(boxes, later)
            later += 1 + int(max(side.frames.max(initial=-1) for side in (truth, boxes)))
        with tempfile.TemporaryDirectory() as scratch:
            paths = Path(scratch, "truth.txt"), Path(scratch, "found.txt")
            for path, lines in zip(paths, (true, found), strict=True):
                path.write_text("".join(line for _, line in sorted(lines)))
            result = evaluate_mot_sequence(paths[0], paths[1], metrics=["Identity"]).Identity
        assert result is not None
        return float(result.IDF1)


def linked(known: KnownGallery, constraints: Constraints | None = None) -> NDArray[np.int64]:
    """(N,) people of a full pass with the gallery's own thresholds."""
    return link(known.appearances, constraints).persons


def ceiling(known: KnownGallery) -> PeopleFigures:
    """Figures of a perfect assignment: what detection and tracking allow."""
    alone = known.labels.max(initial=0) + 1 + np.arange(len(known.labels))
    return known.figures(np.where(known.labels >= 0, known.labels, alone))


def _mot_lines(boxes: Boxes, later: int) -> Sequence[tuple[int, str]]:
    """MOTChallenge lines by frame; of one person's boxes in a frame the first is kept."""
    lines: dict[tuple[int, int], str] = {}
    for frame, own, (x1, y1, x2, y2) in zip(
        boxes.frames.tolist(), boxes.ids.tolist(), boxes.corners.tolist(), strict=True
    ):
        corner = f"{x1 + 1:g},{y1 + 1:g},{x2 - x1:g},{y2 - y1:g}"
        number = frame + later + 1
        lines.setdefault((number, own), f"{number},{own + 1},{corner},1,1,1,1\n")
    return [(number, line) for (number, _), line in lines.items()]
