"""What a similarity means in one gallery: match probabilities and thresholds without labels.

People seen at once are two people; :mod:`.two_groups` compares the scores of such pairs with those
of all pairs. Everything is fitted on what is searched, the means of tracklets.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from reid_dhm.evaluation.calibration import Calibration, log_odds
from reid_dhm.gallery.people.evidence import Appearances
from reid_dhm.gallery.people.graph.agglomeration import Graph, Pairs
from reid_dhm.gallery.people.graph.similarity import camera_means, neighbour_graph, without_camera
from reid_dhm.gallery.people.thresholds.score_counts import (
    EDGES,
    CameraPair,
    count_scores,
    pair_scores,
)
from reid_dhm.gallery.people.thresholds.two_groups import TwoGroups, fit_two_groups

_LINK_PROBABILITY, _JOIN_PROBABILITY = 0.9, 0.9
_LINK, _JOIN = 0.75, 0.6  # where the gallery does not show it
# Within which the best thresholds lay on footage and data sets of known people. A gallery with few
# encounters gives some outside.
_LINK_RANGE, _JOIN_RANGE = (0.6, 0.9), (0.45, 0.8)
_FEWEST = 100  # pairs of two people that anything is concluded from
_OWN_NEGATIVES = 300  # that a camera needs for a calibration of its own
_OWN_UNLABELLED = 10_000  # that a pair of cameras needs for one
_BULK_PAIRS = 200  # from which median and spread of a pair of cameras are known
_BULK = (0.5, 0.8)  # quantiles of unlabelled scores, below which nearly all are two people's
_STANDARD = np.linspace(-10.0, 30.0, 801)  # edges of bins of scores in units of that spread


class PairCalibration(NamedTuple):
    """Match probability of the tracklets of one pair of cameras.

    Attributes:
        calibration: of a cosine.
        negatives: pairs of certainly two people that show this; 0 if those of all cameras, shifted
            to the median and spread of this pair of cameras, do.
        unlabelled: other pairs.
    """

    calibration: Calibration
    negatives: int
    unlabelled: int


@dataclass(frozen=True, eq=False)
class PeopleThresholds:
    """From when tracklets of one gallery are taken for one person, and how likely that is.

    Attributes:
        centres: (D,) float32 mean embedding of each camera, by id.
        link: least mean score of a full pass.
        join: least mean cosine, without the cameras' means, by which a tracklet joins a person.
        negatives: pairs of certainly two people that this rests on.
        within, across: scores of tracklets of one camera, and of two, as multiples of the spread
            above the median of their pair of cameras; None where the gallery does not show them.
        by_cameras: match probability of a cosine, for every pair of cameras with enough pairs.
    """

    centres: dict[int, NDArray[np.float32]]
    link: float = _LINK
    join: float = _JOIN
    negatives: int = 0
    within: TwoGroups | None = None
    across: TwoGroups | None = None
    by_cameras: dict[CameraPair, PairCalibration] = field(default_factory=dict)

    def probability(
        self, cosines: NDArray[np.floating], one: int, other: int
    ) -> NDArray[np.float64] | None:
        """Probability that tracklets of two cameras with these cosines show one person.

        Args:
            cosines: of tracklets' means, of any shape.
            one, other: ids of their cameras.

        Returns:
            None where the gallery does not show it.
        """
        found = self.by_cameras.get((min(one, other), max(one, other)))
        return None if found is None else found.calibration.probability(cosines)


def calibrate(appearances: Appearances, graph: Graph | None = None) -> PeopleThresholds:
    """Find thresholds and match probabilities from the tracklets themselves.

    Args:
        appearances: N tracklets.
        graph: :func:`.neighbour_graph` of their means without the cameras' share, if it is known.
    """
    means, cameras = appearances.means, appearances.cameras
    centres = camera_means(means, cameras)
    together = appearances.together
    known = together.first, together.second
    two: Pairs = (together.first[together.two_people], together.second[together.two_people])
    if len(two[0]) < _FEWEST:
        return PeopleThresholds(centres, negatives=len(two[0]))
    graph = graph or neighbour_graph(without_camera(means, cameras, centres))
    bare = replace(graph, weights=np.zeros(len(graph.weights)))
    link, join = (
        float(np.clip(_threshold(_Scores.of(scored, known, two, cameras), *options), *bounds))
        for scored, options, bounds in (
            (graph, (_LINK_PROBABILITY, _LINK), _LINK_RANGE),
            (bare, (_JOIN_PROBABILITY, _JOIN), _JOIN_RANGE),
        )
    )
    cosines = _Scores.of(replace(bare, vectors=means), known, two, cameras)
    within, across = (
        cosines.pooled([pair for pair in cosines.bulks if (pair[0] == pair[1]) is same])
        for same in (True, False)
    )
    by_cameras = {}
    for pair in cosines.bulks:
        pooled = within if pair[0] == pair[1] else across
        if (found := cosines.of_cameras(pair, pooled)) is not None:
            by_cameras[pair] = found
    return PeopleThresholds(centres, link, join, len(two[0]), within, across, by_cameras)


@dataclass(frozen=True, eq=False)
class _Scores:
    """Scores of one kind.

    Attributes:
        counts: of unlabelled pairs over the bins of EDGES, by pair of cameras.
        bulks: median and spread of the scores of every pair of cameras with enough pairs.
        negatives: scores of pairs of two people, by camera.
        standard: the same of all cameras, as multiples of the spread above the median.
    """

    counts: dict[CameraPair, NDArray[np.float64]]
    bulks: dict[CameraPair, tuple[float, float]]
    negatives: dict[int, NDArray[np.float64]]
    standard: NDArray[np.float64]

    @classmethod
    def of(cls, graph: Graph, known: Pairs, two: Pairs, cameras: NDArray[np.int64]) -> _Scores:
        counts = count_scores(graph, known, cameras)
        bulks = {pair: _bulk(c) for pair, c in counts.items() if c.sum() >= _BULK_PAIRS}
        scores, place = pair_scores(graph, two), cameras[two[0]]
        negatives = {one: scores[place == one] for one, other in bulks if one == other}
        standard = [
            (own - bulks[camera, camera][0]) / bulks[camera, camera][1]
            for camera, own in negatives.items()
        ]
        return cls(counts, bulks, negatives, np.concatenate([np.empty(0), *standard]))

    def pooled(self, pairs: Iterable[CameraPair]) -> TwoGroups | None:
        """The fit over several pairs of cameras, of multiples of their spreads."""
        centres = (EDGES[:-1] + EDGES[1:]) / 2
        total = np.zeros(len(_STANDARD) - 1)
        for pair in pairs:
            middle, spread = self.bulks[pair]
            total += np.histogram(
                (centres - middle) / spread, _STANDARD, weights=self.counts[pair]
            )[0]
        if len(self.standard) < _FEWEST or not total.any():
            return None
        return fit_two_groups(_STANDARD, self.standard, total)

    def of_cameras(self, pair: CameraPair, pooled: TwoGroups | None) -> PairCalibration | None:
        """The calibration of a pair of cameras: its own where it has enough, or the pooled one."""
        middle, spread = self.bulks[pair]
        counts = self.counts[pair]
        own = self.negatives[pair[0]] if pair[0] == pair[1] else np.empty(0)
        fitted, number = None, 0
        if len(own) >= _OWN_NEGATIVES:
            fitted, number = fit_two_groups(EDGES, own, counts), len(own)
        elif counts.sum() >= _OWN_UNLABELLED and len(self.standard) >= _OWN_NEGATIVES:
            fitted = fit_two_groups(EDGES, middle + spread * self.standard, counts)
        if fitted is not None:
            return PairCalibration(fitted.calibration, number, int(counts.sum()))
        if pooled is None:
            return None
        slope, level, prior = astuple(pooled.calibration)
        shifted = Calibration(slope / spread, level - slope * middle / spread, prior)
        return PairCalibration(shifted, 0, int(counts.sum()))


def _threshold(scores: _Scores, probability: float, fallback: float) -> float:
    """The score at which a pair of any cameras shows one person with this probability."""
    found = scores.pooled(scores.bulks)
    if found is None:
        return fallback
    middle, spread = _bulk(sum(scores.counts.values(), np.zeros(1)))
    level = (log_odds(probability) - found.calibration.intercept) / found.calibration.slope
    return middle + spread * level


def _bulk(counts: NDArray[np.float64]) -> tuple[float, float]:
    """Median of scores, and how far the upper quantile lies above it."""
    share = np.cumsum(counts) / counts.sum()
    low, high = np.interp(_BULK, share, EDGES[1:])
    return float(low), max(float(high - low), 1e-3)
