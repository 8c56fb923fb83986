"""The report on several models that answered the same queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reid_dhm.evaluation.confidence import Estimate
from reid_dhm.evaluation.run import EvaluationRun
from reid_dhm.report import figures, selection
from reid_dhm.report.cards import Deck, QueryLists, final_ranking, thumbnail_names
from reid_dhm.report.content import Intervals, Progress, check_same_queries, scores_of
from reid_dhm.report.folder import report_folder, write_results
from reid_dhm.report.overview import aside, protocol_text
from reid_dhm.report.pages import Pages
from reid_dhm.report.progress import counter
from reid_dhm.report.svg import Drawing
from reid_dhm.report.tables import (
    PER_QUERY,
    Differences,
    comparison_results,
    write_per_query,
)
from reid_dhm.report.thumbnails import write_thumbnails

_FIGURES = {"mAP": "mAP", "rank1": "rank-1", "mINP": "mINP"}


def write_comparison(
    folder: Path,
    evaluations: Sequence[EvaluationRun],
    differences: Differences,
    *,
    num_lists: int = 6,
    on_progress: Progress | None = None,
) -> list[str]:
    """Write a folder that opens in a browser from disk and shows models side by side.

    Models are shown by their last result, after re-ranking where that was asked for.

    Args:
        folder: appears whole or not at all; an earlier report there is replaced.
        evaluations: of the same queries and gallery, each with a name of its own; the first is the
            one that the others are held against.
        differences: (model, reference) → figure → model minus reference, by names. Every pair is
            shown, and what queries the two answer differently.
        num_lists: queries shown of those that one model wins, and of those that it loses.
        on_progress: told the images and pages done, and all there are.

    Returns:
        Why each image that could not be read could not.

    Raises:
        InputError: if the models differ in their queries or gallery, share a name, or ``folder``
            holds something that is no report.
    """
    check_same_queries(evaluations)
    with report_folder(folder) as fresh:
        return _write(fresh, evaluations, differences, num_lists, on_progress)


@dataclass(frozen=True)
class _Row:
    """A model of the table."""

    name: str
    headline: list[tuple[float, Estimate | None, Estimate | None]]
    others: dict[int, float]
    wrong: float
    worst_pair: str
    found: list[tuple[float, float, str]]


@dataclass(frozen=True)
class _Contest:
    """Two models: the figures' differences, and the queries they part over."""

    model: str
    reference: str
    differences: list[tuple[str, Estimate]]
    counts: dict[str, int]
    won: list[QueryLists]
    lost: list[QueryLists]


def _write(
    folder: Path,
    evaluations: Sequence[EvaluationRun],
    differences: Differences,
    num_lists: int,
    on_progress: Progress | None,
) -> list[str]:
    first = evaluations[0]
    names = [evaluation.name for evaluation in evaluations]
    pairs = list(differences) or [(name, first.name) for name in names[1:]]
    parted = [
        selection.disagreement(evaluations, names.index(model), names.index(reference))
        for model, reference in pairs
    ]
    query, gallery = (_with_paths(evaluations, side) for side in ("query", "gallery"))
    rankings = [final_ranking(evaluation) for evaluation in evaluations]
    images = thumbnail_names(query, gallery, rankings)
    count = counter(on_progress, len(images) + len(query))
    thumbnails = write_thumbnails(folder, images, count)
    deck = Deck(query, gallery, rankings, thumbnails)

    drawings = _drawings(evaluations)
    pages = Pages(folder, " · ".join(names), len(query))
    pages.write_queries(deck, count)
    pages.write_figures(drawings)
    pages.write(
        "index.html",
        "comparison.html",
        names=names,
        counts={
            "queries": len(query),
            "valid": int(first.final.valid.sum()),
            "gallery": first.final.num_gallery,
        },
        protocol=protocol_text(first),
        aside=aside(first),
        figures=list(_FIGURES.values()),
        rows=[_row(each, differences.get((each.name, first.name), {})) for each in evaluations],
        ranks=[k for k in first.final.ranks if k != 1],
        rates=[point.asked for point in first.pairs.points],
        contests=[_contest(pair, names, differences, deck, num_lists) for pair in parted],
        drawings=drawings,
        faults=thumbnails.faults,
        facts_of={evaluation.name: _flat(evaluation) for evaluation in evaluations},
    )
    write_per_query(folder / PER_QUERY, rankings)
    results = comparison_results(evaluations, differences, parted, len(thumbnails.faults))
    write_results(folder, "comparison", results)
    return thumbnails.faults


def _with_paths(evaluations: Sequence[EvaluationRun], side: str) -> Any:
    """One of the equal sets, with image paths if any has them."""
    sets = [getattr(evaluation, side) for evaluation in evaluations]
    return next((each for each in sets if each.paths is not None), sets[0])


def _row(evaluation: EvaluationRun, differences: Intervals) -> _Row:
    final, intervals = evaluation.final, evaluation.final_intervals
    values = {"mAP": final.mAP, "rank1": final.cmc[1], "mINP": final.mINP}
    scores = scores_of(evaluation.settings.metric)
    cameras, worst = evaluation.cameras, selection.worst_camera_pair(evaluation.cameras)
    pair = "–"
    if worst is not None:
        row, column = worst
        pair = (
            f"{cameras.query_cameras[row]} → {cameras.gallery_cameras[column]}: "
            f"{cameras.rank1[worst]:.1%}"
        )
    return _Row(
        evaluation.name,
        [(values[name], intervals.get(name), differences.get(name)) for name in _FIGURES],
        {k: value for k, value in final.cmc.items() if k != 1},
        1 - final.cmc[1],
        pair,
        [
            (
                point.asked,
                point.true_positive_rate,
                f"{scores.bound} {scores.threshold(point.threshold)}",
            )
            for point in evaluation.pairs.points
        ],
    )


def _contest(
    pair: selection.Disagreement,
    names: Sequence[str],
    differences: Differences,
    deck: Deck,
    num_lists: int,
) -> _Contest:
    model, reference = names[pair.model], names[pair.reference]
    estimates = differences.get((model, reference), {})
    # Only the lists of the two, the model's first.
    two = Deck(
        deck.query,
        deck.gallery,
        [deck.rankings[pair.model], deck.rankings[pair.reference]],
        deck.thumbnails,
    )
    return _Contest(
        model,
        reference,
        [(label, estimates[name]) for name, label in _FIGURES.items() if name in estimates],
        {
            "won": len(pair.won),
            "lost": len(pair.lost),
            "both": pair.both,
            "neither": pair.neither,
        },
        [two.lists(row) for row in pair.won[:num_lists].tolist()],
        [two.lists(row) for row in pair.lost[:num_lists].tolist()],
    )


def _drawings(evaluations: Sequence[EvaluationRun]) -> list[Drawing]:
    results = [(evaluation.name, evaluation.final) for evaluation in evaluations]
    pairs = [(each.name, each.pairs.scores, each.pairs.points) for each in evaluations]
    return [
        figures.cmc_curve(results),
        figures.roc_curve(pairs),
        figures.precision_histogram(results),
    ]


def _flat(evaluation: EvaluationRun) -> dict[str, str]:
    """All facts of a model under one heading."""
    return {
        f"{heading}: {name}": value
        for heading, section in evaluation.facts.items()
        for name, value in section.items()
    }
