"""How well the match probabilities of a gallery agree with what its pairs show."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from reid_dhm.gallery.people.thresholds.calibration import PeopleThresholds
from reid_dhm.report.plots.svg import INK, PALETTE, Drawing, figure

FEWEST = 100
"""Pairs of people seen at once from which a gallery is calibrated."""

_EDGES = np.linspace(0, 1, 11)
_KINDS = {"within": "tracklets of one camera", "across": "tracklets of two cameras"}


class Reliability(NamedTuple):
    """Pairs whose stated match probability lies in one tenth.

    Attributes:
        kind: tracklets of one camera, or of two.
        stated: mean of the probabilities stated.
        counted: share of pairs that are one person's, as what two people's pairs do not explain.
        pairs: how many.
    """

    kind: str
    stated: float
    counted: float
    pairs: int


def reliability(found: PeopleThresholds) -> list[Reliability]:
    """Stated and counted probabilities, by tenth; tenths without pairs are left out.

    Args:
        found: fresh of :func:`.calibrate`.
    """
    points = []
    for name, kind in _KINDS.items():
        fit = getattr(found, name)
        if fit is None:
            continue
        known = (fit.pairs > 0) & np.isfinite(fit.counted)
        tenth = np.clip(np.digitize(fit.stated, _EDGES) - 1, 0, len(_EDGES) - 2)
        for number in np.unique(tenth[known]).tolist():
            own = known & (tenth == number)
            weight = fit.pairs[own] / fit.pairs[own].sum()
            points.append(
                Reliability(
                    kind,
                    float(weight @ fit.stated[own]),
                    float(np.clip(weight @ fit.counted[own], 0, 1)),
                    int(fit.pairs[own].sum()),
                )
            )
    return points


def draw_reliability(points: list[Reliability]) -> Drawing:
    """Counted against stated probability; on the diagonal both agree."""
    kinds = list(dict.fromkeys(point.kind for point in points))
    with figure("reliability", (4.2, 4.0)) as (axes, svg):
        axes.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle=":")
        for kind, colour in zip(kinds, PALETTE, strict=False):
            own = [point for point in points if point.kind == kind]
            axes.plot(
                [point.stated for point in own],
                [point.counted for point in own],
                color=colour,
                marker="o",
                label=f"{kind} ({sum(point.pairs for point in own):,} pairs)",
            )
        axes.set_xlabel("stated probability")
        axes.set_ylabel("counted share of one person's pairs")
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.02)
        axes.legend(loc="upper left")
    words = "; ".join(
        f"{point.kind}: stated {point.stated:.0%}, counted {point.counted:.0%} of {point.pairs}"
        for point in points
    )
    return Drawing("reliability", "Reliability", f"Reliability: {words}.", svg[0])
