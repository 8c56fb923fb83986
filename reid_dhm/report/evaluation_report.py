"""The report of one evaluation run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from reid_dhm.evaluation.run import EvaluationRun
from reid_dhm.report.folder import report_folder, write_results
from reid_dhm.report.pages import Pages
from reid_dhm.report.plots import evaluation as figures
from reid_dhm.report.plots.embedding_map import draw_map
from reid_dhm.report.plots.svg import Drawing
from reid_dhm.report.progress import counter
from reid_dhm.report.scores import scores_of
from reid_dhm.report.sections import overview, selection
from reid_dhm.report.sections.ranked_lists import RankedLists, rankings_of, thumbnail_names
from reid_dhm.report.sections.selection import Rows
from reid_dhm.report.sections.tables import PER_QUERY, evaluation_results, write_per_query
from reid_dhm.report.sections.thumbnails import ActivationMaps, write_activation, write_thumbnails
from reid_dhm.retrieval.results import RetrievalResult

_EXAMPLES = 3  # mistakes shown for each confused pair


def write_report(
    folder: Path,
    evaluation: EvaluationRun,
    *,
    num_lists: int = 12,
    seed: int = 0,
    map_people: Sequence[int] | int | None = None,
    activation: ActivationMaps | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[str]:
    """Write a folder that opens in a browser from disk: ``index.html`` and what it needs.

    Args:
        folder: appears complete or not at all; an earlier report there is replaced.
        num_lists: queries in each section of the overview, and confused pairs.
        seed: of the random queries and the map.
        map_people: pids for the map, or their number (the most confused first); None for no map.
        activation: makes activation maps; called once, with the images of the overview's lists.
        on_progress: called with the images and pages done, and their total.

    Returns:
        An error message for each image that could not be read; the report shows empty boxes.

    Raises:
        InputError: if ``folder`` holds something else than a report, or a map cannot be drawn.
    """
    with report_folder(folder) as fresh:
        return _write(fresh, evaluation, num_lists, seed, map_people, activation, on_progress)


@dataclass(frozen=True)
class _Section:
    """A section of the overview with queries."""

    id: str
    title: str
    about: str
    rows: Rows


def _write(
    folder: Path,
    evaluation: EvaluationRun,
    num_lists: int,
    seed: int,
    wanted: Sequence[int] | int | None,
    activation: ActivationMaps | None,
    on_progress: Callable[[int, int], None] | None,
) -> list[str]:
    query, final = evaluation.query, evaluation.final
    sections = _sections(final, query.pids, num_lists, seed)
    confused = selection.confusions(evaluation, final, num_lists)
    drawings = _drawings(evaluation)
    people_map = None
    if wanted is not None:
        people = selection.map_people(evaluation, wanted, confused, seed)
        people_map = draw_map(evaluation, people, seed)

    rankings = rankings_of(evaluation)
    names = thumbnail_names(query, evaluation.gallery, rankings)
    count = counter(on_progress, len(names) + len(query))
    thumbnails = write_thumbnails(folder, names, count)
    lists = RankedLists(query, evaluation.gallery, rankings, thumbnails)
    examples = {pair: pair.queries[:_EXAMPLES] for pair in confused}
    if activation is not None:
        shown: list[Iterable[int]] = [*(section.rows for section in sections), *examples.values()]
        paths = lists.paths(row for rows in shown for row in rows)
        write_activation(folder, thumbnails, paths, activation)

    pages = Pages(folder, evaluation.name, len(query))
    pages.write_queries(lists, count, files=True, judged=final)
    pages.write_figures([*drawings, *([people_map] if people_map else [])])
    pages.write(
        "index.html",
        "evaluation.html",
        **overview.blocks(evaluation),
        drawings=drawings,
        lists=lists,
        sections=sections,
        confused=list(examples.items()),
        map=people_map,
        activation=bool(thumbnails.maps),
        faults=thumbnails.faults,
    )
    write_per_query(folder / PER_QUERY, rankings)
    results = evaluation_results(evaluation, confused, len(thumbnails.faults))
    write_results(folder, "evaluation", results)
    return thumbnails.faults


def _sections(result: RetrievalResult, pids: Rows, count: int, seed: int) -> list[_Section]:
    return [
        _Section(
            "worst",
            "Worst queries",
            "The lowest average precision (AP), one query of each person.",
            selection.worst_queries(result, pids, count),
        ),
        _Section(
            "random",
            "Random queries",
            f"Drawn with seed {seed}: typical searches.",
            selection.random_queries(result, count, seed),
        ),
        _Section(
            "best",
            "Best queries",
            "The highest average precision (AP), one query of each person.",
            selection.best_queries(result, pids, count),
        ),
    ]


def _drawings(evaluation: EvaluationRun) -> list[Drawing]:
    stages = [("", evaluation.result)]
    if evaluation.reranked is not None:
        stages = [
            ("before re-ranking", evaluation.result),
            ("after re-ranking", evaluation.reranked),
        ]
    scores = scores_of(evaluation.settings.metric)
    return [
        figures.cmc_curve(stages),
        figures.precision_histogram(stages),
        figures.score_distributions(evaluation.pairs, scores),
        figures.roc_curve([("", evaluation.pairs)]),
    ]
