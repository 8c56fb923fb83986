"""The figures of an overview: headline, failures, thresholds and camera pairs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reid_dhm.evaluation.cameras import CameraPairs
from reid_dhm.evaluation.confidence import Estimate
from reid_dhm.evaluation.run import EvaluationRun
from reid_dhm.report.scores import HEADLINE, headline, scores_of
from reid_dhm.report.sections.selection import worst_camera_pair
from reid_dhm.retrieval.results import RetrievalResult

_CHANGES = ("multi-query", "database-side augmentation", "query expansion", "re-ranking")
_DEPTH = 0.55  # opacity of the worst cell of a matrix, on which text stays readable


@dataclass(frozen=True)
class Headline:
    """Headline figures before or after re-ranking; the title is empty without re-ranking."""

    title: str
    headline: list[tuple[str, float, Estimate | None]]
    others: list[tuple[int, float]]


@dataclass(frozen=True)
class Cell:
    """A figure of a camera pair; ``shade`` is 0 for the best of its matrix."""

    value: float | None
    count: int
    shade: str | None
    worst: bool


def blocks(evaluation: EvaluationRun) -> dict[str, Any]:
    """The variables of the overview's template that hold figures."""
    return {
        "protocol": protocol_text(evaluation),
        "aside": aside(evaluation),
        "counts": counts(evaluation),
        "stages": _stages(evaluation),
        # The mean over the draws under single-shot.
        "wrong": float(np.nansum(1 - evaluation.final.matched_within(1))),
        "facts_of": evaluation.facts,
        **_thresholds(evaluation),
        **_matrices(evaluation.cameras),
    }


def counts(evaluation: EvaluationRun) -> dict[str, int]:
    """Numbers of queries, valid queries and gallery images."""
    final = evaluation.final
    return {
        "queries": len(evaluation.query),
        "valid": int(final.valid.sum()),
        "gallery": final.num_gallery,
    }


def _stages(evaluation: EvaluationRun) -> list[Headline]:
    first = _stage("", evaluation.result, evaluation.intervals)
    if evaluation.reranked is None:
        return [first]
    after = _stage("After re-ranking", evaluation.reranked, evaluation.reranked_intervals or {})
    return [after, replace(first, title="Before re-ranking")]


def _stage(title: str, result: RetrievalResult, intervals: Mapping[str, Estimate]) -> Headline:
    return Headline(
        title,
        [(HEADLINE[key], value, intervals.get(key)) for key, value in headline(result).items()],
        [(k, value) for k, value in result.cmc.items() if k != 1],
    )


def _thresholds(evaluation: EvaluationRun) -> dict[str, Any]:
    """The variables of the card on thresholds."""
    scores = scores_of(evaluation.settings.metric)
    calibration = evaluation.pairs.calibration
    half = prior = level = None
    if calibration.slope > 0:
        half = scores.text(-calibration.intercept / calibration.slope)
        even = calibration.prior == 0.5
        prior = "even odds" if even else f"odds of {calibration.prior * 100:.2g}%"
    for estimate in evaluation.final_intervals.values():
        level = estimate.level
    return {
        "scores": scores,
        "points": evaluation.pairs.points,
        "half": half,
        "prior": prior,
        "level": level,
    }


def _matrices(cameras: CameraPairs) -> dict[str, Any]:
    """The camera pairs as tables of shaded cells, and the worst pair."""
    worst = worst_camera_pair(cameras)
    pair = None
    if worst is not None:
        row, column = worst
        pair = {
            "query": f"camera {cameras.query_cameras[row]}",
            "gallery": f"camera {cameras.gallery_cameras[column]}",
            "rank1": float(cameras.rank1[worst]),
            "mean_ap": float(cameras.mean_ap[worst]),
            "num_queries": int(cameras.num_queries[worst]),
        }
    return {
        "cameras": {
            "query": cameras.query_cameras.tolist(),
            "gallery": cameras.gallery_cameras.tolist(),
        },
        "worst_pair": pair,
        "matrices": [
            {"title": title, "rows": _cells(values, cameras.num_queries, worst)}
            for title, values in (("rank-1", cameras.rank1), ("mAP", cameras.mean_ap))
        ],
    }


def _cells(
    values: NDArray[np.float64], counts: NDArray[np.int64], worst: tuple[int, int] | None
) -> list[list[Cell]]:
    known = values[np.isfinite(values)]
    best = float(known.max(initial=0))
    span = float(best - known.min(initial=best)) or 1.0
    cells = []
    for row, line in enumerate(values.tolist()):
        cells.append(
            [
                Cell(None, 0, None, False)
                if np.isnan(value)
                else Cell(
                    value,
                    int(counts[row, column]),
                    f"{_DEPTH * (best - value) / span:.2f}",
                    (row, column) == worst,
                )
                for column, value in enumerate(line)
            ]
        )
    return cells


def aside(evaluation: EvaluationRun) -> str:
    """Text after figures that are not of the last ranking, which names their ranking."""
    if evaluation.reranked is not None:
        return ", before re-ranking"
    drawn = evaluation.result.protocol.gallery == "single-shot"
    return ", in the whole gallery" if drawn else ""


def protocol_text(evaluation: EvaluationRun) -> str:
    """The protocol in one line."""
    protocol = evaluation.result.protocol
    facts = evaluation.facts.get("Protocol", {})
    changed = "".join(f", {name} ({facts[name]})" for name in _CHANGES if name in facts)
    rule = "" if protocol.camera_rule else ", same camera ranked too"
    drawn = ""
    if protocol.gallery == "single-shot":
        drawn = f", mean of {protocol.repeats} draws of one image per person; lists rank all images"
    kind = "" if protocol.ap == "standard" else f", {protocol.ap} AP"
    return f"{scores_of(protocol.metric).name} ({protocol.metric}){rule}{kind}{drawn}{changed}"
