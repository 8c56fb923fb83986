"""The report of a grid of trainings: table, learning curves, gradients, and how to repeat it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from reid_dhm.evaluation.repeats import Condition
from reid_dhm.report.folder import report_folder, write_results
from reid_dhm.report.pages import Pages
from reid_dhm.report.plots.training import gradient_plots, learning_curves

LABELS = {"mAP": "mAP", "mINP": "mINP", "rank1": "rank-1", "top1": "top-1"}


def write_experiment(
    folder: Path,
    title: str,
    conditions: Sequence[Condition],
    facts: Mapping[str, str],
    unfinished: Mapping[str, str],
    comparison: str | None = None,
) -> None:
    """Write a folder that opens in a browser from disk.

    Args:
        folder: appears complete or not at all; an earlier report there is replaced.
        title: of the page.
        conditions: the rows; differences are to the first of the grid.
        facts: how it was made: configuration, seeds, versions.
        unfinished: run → what is missing of it, for runs that are not in the table.
        comparison: link to the comparison of the first seed's models, relative to ``folder``.
    """
    figures = list(conditions[0].figures)
    curves = learning_curves(conditions, "mAP" if "mAP" in figures else figures[0])
    gradients = gradient_plots(conditions)
    with report_folder(folder) as fresh:
        pages = Pages(fresh, title, 1)
        pages.write_figures([*curves, *gradients])
        pages.write(
            "index.html",
            "experiment.html",
            conditions=conditions,
            labels={name: LABELS.get(name, name) for name in figures},
            curves=curves,
            gradients=gradients,
            facts_of={"Experiment": dict(facts)},
            unfinished=dict(unfinished),
            comparison=comparison,
        )
        content = {
            "conditions": [each.summary() for each in conditions],
            "unfinished": dict(unfinished),
            "facts": dict(facts),
        }
        write_results(fresh, "experiment", content)
