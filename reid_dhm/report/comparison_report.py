"""The report of several models on the same queries."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reid_dhm.errors import InputError
from reid_dhm.evaluation.comparison import Comparison, check_same_images
from reid_dhm.evaluation.confidence import Estimate
from reid_dhm.evaluation.run import EvaluationRun
from reid_dhm.report.folder import report_folder, write_results
from reid_dhm.report.pages import Pages
from reid_dhm.report.plots import evaluation as figures
from reid_dhm.report.plots.svg import Drawing
from reid_dhm.report.progress import counter
from reid_dhm.report.scores import HEADLINE, headline, scores_of
from reid_dhm.report.sections.overview import aside, counts, protocol_text
from reid_dhm.report.sections.ranked_lists import RankedLists, final_ranking, thumbnail_names
from reid_dhm.report.sections.selection import Disagreement, disagreement, worst_camera_pair
from reid_dhm.report.sections.tables import PER_QUERY, comparison_results, write_per_query
from reid_dhm.report.sections.thumbnails import write_thumbnails
from reid_dhm.retrieval.embeddings import EmbeddingSet


def write_comparison(
    folder: Path,
    comparison: Comparison,
    *,
    num_lists: int = 6,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[str]:
    """Write a folder that opens in a browser from disk and shows models side by side.

    Models are shown by their last result, after re-ranking if there was any.

    Args:
        folder: appears complete or not at all; an earlier report there is replaced.
        comparison: runs on the same queries and gallery, each with a different name. Every pair of
            its differences gets a section with the queries that the two answer differently.
        num_lists: queries shown that only one model answers correctly, for each of the two.
        on_progress: called with the images and pages done, and their total.

    Returns:
        An error message for each image that could not be read.

    Raises:
        InputError: if the models differ in their queries or gallery, share a name, or ``folder``
            holds something else than a report.
    """
    _check(comparison.runs)
    with report_folder(folder) as fresh:
        return _write(fresh, comparison, num_lists, on_progress)


@dataclass(frozen=True)
class _Model:
    """A row of the tables: a run, its differences from the first run, its worst camera pair."""

    run: EvaluationRun
    differences: Mapping[str, Estimate]
    worst_pair: str


@dataclass(frozen=True)
class _Pair:
    """A section: two models, their differences, and the lists of both."""

    queries: Disagreement
    differences: Mapping[str, Estimate]
    lists: RankedLists


def _check(runs: Sequence[EvaluationRun]) -> None:
    """Refuse runs that ranked different images, or have the same name."""
    if len(runs) < 2:
        raise InputError(f"{len(runs)} model given: a comparison needs two or more")
    names = [run.name for run in runs]
    for number, name in enumerate(names):
        if name in names[:number]:
            raise InputError(f"two models are called {name!r}: give each a different name")
    for other in runs[1:]:
        check_same_images(other, runs[0])


def _write(
    folder: Path,
    comparison: Comparison,
    num_lists: int,
    on_progress: Callable[[int, int], None] | None,
) -> list[str]:
    runs = {run.name: run for run in comparison.runs}
    first, differences = comparison.runs[0], comparison.differences
    names = list(differences) or [(name, first.name) for name in list(runs)[1:]]
    parted = [disagreement(runs[model], runs[reference]) for model, reference in names]
    query = _with_paths([run.query for run in comparison.runs])
    gallery = _with_paths([run.gallery for run in comparison.runs])
    rankings = {name: final_ranking(run) for name, run in runs.items()}
    images = thumbnail_names(query, gallery, rankings.values())
    count = counter(on_progress, len(images) + len(query))
    thumbnails = write_thumbnails(folder, images, count)

    def lists(*shown: str) -> RankedLists:
        return RankedLists(query, gallery, [rankings[name] for name in shown], thumbnails)

    drawings = _drawings(comparison.runs)
    pages = Pages(folder, " · ".join(runs), len(query))
    pages.write_queries(lists(*runs), count)
    pages.write_figures(drawings)
    pages.write(
        "index.html",
        "comparison.html",
        models=[
            _Model(run, differences.get((run.name, first.name), {}), _worst_pair(run))
            for run in comparison.runs
        ],
        labels=HEADLINE,
        headline=headline,
        scores_of=scores_of,
        counts=counts(first),
        protocol=protocol_text(first),
        aside=aside(first),
        ranks=[k for k in first.final.ranks if k != 1],
        rates=[point.asked for point in first.pairs.points],
        pairs=[
            _Pair(queries, differences.get(pair, {}), lists(*pair))
            for pair, queries in zip(names, parted, strict=True)
        ],
        num_lists=num_lists,
        drawings=drawings,
        faults=thumbnails.faults,
        facts_of={run.name: _flat(run) for run in comparison.runs},
    )
    write_per_query(folder / PER_QUERY, list(rankings.values()))
    results = comparison_results(comparison, parted, len(thumbnails.faults))
    write_results(folder, "comparison", results)
    return thumbnails.faults


def _with_paths(sets: Sequence[EmbeddingSet]) -> EmbeddingSet:
    """One of the equal sets, with image paths if any has them."""
    return next((each for each in sets if each.paths is not None), sets[0])


def _worst_pair(run: EvaluationRun) -> str:
    cameras, worst = run.cameras, worst_camera_pair(run.cameras)
    if worst is None:
        return "–"
    row, column = worst
    pair = f"{cameras.query_cameras[row]} → {cameras.gallery_cameras[column]}"
    return f"{pair}: {cameras.rank1[worst]:.1%}"


def _drawings(runs: Sequence[EvaluationRun]) -> list[Drawing]:
    results = [(run.name, run.final) for run in runs]
    return [
        figures.cmc_curve(results),
        figures.roc_curve([(run.name, run.pairs) for run in runs]),
        figures.precision_histogram(results),
    ]


def _flat(run: EvaluationRun) -> dict[str, str]:
    """All facts of a model under one heading."""
    return {
        f"{heading}: {name}": value
        for heading, section in run.facts.items()
        for name, value in section.items()
    }
