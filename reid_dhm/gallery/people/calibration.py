"""What a similarity means in one gallery, found without labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reid_dhm.gallery.people.evidence import Appearances
from reid_dhm.gallery.people.similarity import camera_means, without_camera

_SPREADS = 3.0  # of two people's similarity, above its mean, from which two are taken for one
_FALLBACK = 0.5  # where nobody was seen with anybody


@dataclass(frozen=True, eq=False)
class PeopleThresholds:
    """From when tracklets of one gallery are taken for one person.

    Attributes:
        centres: (D,) float32 mean embedding of each camera, by id.
        link: least mean score of a full pass.
        join: least mean cosine by which a new tracklet joins a known person.
        pairs: pairs of certainly two people that this rests on.
    """

    centres: dict[int, NDArray[np.float32]]
    link: float
    join: float
    pairs: int


def calibrate(appearances: Appearances) -> PeopleThresholds:
    """Find thresholds from the tracklets themselves: people seen at once are two.

    Args:
        appearances: N tracklets.
    """
    centres = camera_means(appearances.means, appearances.cameras)
    vectors = without_camera(appearances.means, appearances.cameras, centres)
    two = appearances.together.two_people
    left, right = appearances.together.first[two], appearances.together.second[two]
    scores = np.einsum("nd,nd->n", vectors[left], vectors[right])
    level = _FALLBACK
    if len(scores) > 1:
        level = float(scores.mean() + _SPREADS * scores.std())
    return PeopleThresholds(centres, level, level, len(scores))
