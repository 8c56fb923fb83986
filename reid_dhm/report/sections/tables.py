"""The machine-readable files of a report: ``results.json`` and ``per_query.csv``."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reid_dhm.evaluation.cameras import CameraPairs
from reid_dhm.evaluation.comparison import Comparison
from reid_dhm.evaluation.run import EvaluationRun
from reid_dhm.files import csv_cell
from reid_dhm.report.sections.ranked_lists import Ranking
from reid_dhm.report.sections.selection import Confusion, Disagreement
from reid_dhm.text import printable

PER_QUERY = "per_query.csv"
_LONGEST = 4096  # characters of a path


def evaluation_results(
    evaluation: EvaluationRun, confused: Sequence[Confusion], unreadable: int
) -> dict[str, Any]:
    """Content of ``results.json`` of an evaluation report: its figures and their details."""
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
    comparison: Comparison, parted: Sequence[Disagreement], unreadable: int
) -> dict[str, Any]:
    """Content of ``results.json`` of a comparison report."""
    return {
        "models": [
            {
                **evaluation.figures(),
                "name": evaluation.name,
                "operating_points": [asdict(point) for point in evaluation.pairs.points],
            }
            for evaluation in comparison.runs
        ],
        "differences": [
            {
                "model": model,
                "reference": reference,
                **{name: asdict(estimate) for name, estimate in figures.items()},
            }
            for (model, reference), figures in comparison.differences.items()
        ],
        "rank1": [
            {
                "model": pair.model.name,
                "reference": pair.reference.name,
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
    """Write one row per query: its labels, and the figures and first answer of each ranking.

    Columns of a ranking begin with its prefix. Rows and queries count from 0; the figures of a
    query without a correct image are empty.
    """
    query = rankings[0].evaluation.query
    columns: dict[str, Iterable[Any]] = {
        "query": range(len(query)),
        "pid": query.pids,
        "camid": query.camids,
        "path": _texts(query.paths, len(query)),
    }
    for ranking in rankings:
        columns |= {ranking.prefix + name: values for name, values in _answers(ranking).items()}
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(csv_cell(printable(name)) for name in columns)
        for row in zip(*columns.values(), strict=True):
            writer.writerow(map(csv_cell, row))


def _texts(paths: Sequence[str] | None, count: int) -> list[str]:
    """Paths as printable texts, empty where they are not known."""
    return [""] * count if paths is None else [printable(path, _LONGEST) for path in paths]


def _answers(ranking: Ranking) -> dict[str, Sequence[Any]]:
    result, gallery = ranking.result, ranking.evaluation.gallery
    top = result.topk_indices[:, 0]
    there = top >= 0
    paths = _texts(gallery.paths, len(gallery))
    return {
        "first_rank": _where(result.valid, ranking.first_ranks),
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
    """The values, and an empty text where they are not known."""
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
