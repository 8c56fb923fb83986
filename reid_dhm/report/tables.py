"""The machine-readable side of a report: what ``results.json`` and ``per_query.csv`` hold."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reid_dhm.evaluation.cameras import CameraPairs
from reid_dhm.evaluation.confidence import Estimate
from reid_dhm.evaluation.run import EvaluationRun
from reid_dhm.report.cards import Ranking
from reid_dhm.report.content import first_ranks
from reid_dhm.report.selection import Confusion, Disagreement

PER_QUERY = "per_query.csv"
Differences = Mapping[tuple[str, str], Mapping[str, Estimate]]
"""(model, reference) → figure → model minus reference, paired over the same queries."""


def evaluation_results(
    evaluation: EvaluationRun, confused: Sequence[Confusion], unreadable: int
) -> dict[str, Any]:
    """Content of a report's ``results.json``: the figures at the top, then what explains them."""
    return {
        **evaluation.figures(),
        "name": evaluation.name,
        "operating_points": [asdict(point) for point in evaluation.pairs.points],
        "calibration": asdict(evaluation.pairs.calibration),
        "cameras": _cameras(evaluation.cameras),
        "confusions": [asdict(pair) for pair in confused],
        "unreadable_pictures": unreadable,
        "facts": {heading: dict(section) for heading, section in evaluation.facts.items()},
    }


def comparison_results(
    evaluations: Sequence[EvaluationRun],
    differences: Differences,
    parted: Sequence[Disagreement],
    unreadable: int,
) -> dict[str, Any]:
    """Content of a comparison's ``results.json``."""
    names = [evaluation.name for evaluation in evaluations]
    return {
        "models": [
            {
                **evaluation.figures(),
                "name": evaluation.name,
                "operating_points": [asdict(point) for point in evaluation.pairs.points],
            }
            for evaluation in evaluations
        ],
        "differences": [
            {
                "model": model,
                "reference": reference,
                **{name: asdict(estimate) for name, estimate in figures.items()},
            }
            for (model, reference), figures in differences.items()
        ],
        "rank1": [
            {
                "model": names[pair.model],
                "reference": names[pair.reference],
                "won": pair.won.tolist(),
                "lost": pair.lost.tolist(),
                "both_right": pair.both,
                "both_wrong": pair.neither,
            }
            for pair in parted
        ],
        "unreadable_pictures": unreadable,
    }


def write_per_query(path: Path, rankings: Sequence[Ranking]) -> None:
    """One row per query: who it is, and how each ranking answered it.

    Columns of a ranking begin with its key. Rows and queries count from 0; a query that is not
    counted has empty figures.
    """
    query = rankings[0].evaluation.query
    columns: dict[str, Iterable[Any]] = {
        "query": range(len(query)),
        "pid": query.pids,
        "camid": query.camids,
        "path": query.paths or [""] * len(query),
    }
    for ranking in rankings:
        columns |= {ranking.key + name: values for name, values in _answers(ranking).items()}
    with path.open("w", newline="", encoding="utf-8", errors="replace") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def _answers(ranking: Ranking) -> dict[str, Sequence[Any]]:
    result, gallery = ranking.result, ranking.evaluation.gallery
    top = result.topk_indices[:, 0]
    there = top >= 0
    paths = gallery.paths or [""] * len(gallery)
    return {
        "first_rank": _where(result.valid, first_ranks(result)),
        "average_precision": _where(result.valid, result.average_precision),
        "inverse_negative_penalty": _where(result.valid, result.inverse_negative_penalty),
        "top1_row": _where(there, top),
        "top1_pid": _where(there, gallery.pids[top]),
        "top1_camid": _where(there, gallery.camids[top]),
        f"top1_{ranking.scores.name}": _where(
            there, ranking.scores.sign * result.topk_scores[:, 0]
        ),
        "top1_path": [paths[row] if row >= 0 else "" for row in top.tolist()],
    }


def _where(known: NDArray[np.bool_], values: NDArray) -> list[Any]:
    """Values, and nothing where they are not known."""
    return [value if good else "" for value, good in zip(values.tolist(), known, strict=True)]


def _cameras(cameras: CameraPairs) -> dict[str, Any]:
    return {
        "query_cameras": cameras.query_cameras.tolist(),
        "gallery_cameras": cameras.gallery_cameras.tolist(),
        "rank1": _known(cameras.rank1),
        "mAP": _known(cameras.mean_ap),
        "num_queries": cameras.num_queries.tolist(),
    }


def _known(matrix: NDArray[np.float64]) -> list[list[float | None]]:
    """The matrix as lists, null where it is NaN."""
    return [[None if math.isnan(value) else value for value in row] for row in matrix.tolist()]
