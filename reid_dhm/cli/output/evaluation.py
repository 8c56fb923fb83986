"""What evaluations and comparisons print."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reid_dhm.cli.output import printable

if TYPE_CHECKING:
    from rich.table import Table

    from reid_dhm.evaluation.comparison import Comparison
    from reid_dhm.evaluation.confidence import Estimate
    from reid_dhm.evaluation.run import EvaluationRun
    from reid_dhm.retrieval.results import RetrievalResult

logger = logging.getLogger(__name__)

FIGURES = {"mAP": "mAP", "mINP": "mINP", "rank1": "rank-1"}


def print_results(run: EvaluationRun) -> None:
    """Print the figures with their intervals, and the thresholds where pairs were scored."""
    from reid_dhm.cli.output.tables import SafeTable, plain_console
    from reid_dhm.evaluation.calibration import threshold_text
    from reid_dhm.evaluation.metadata import protocol_facts

    inputs, result = run.inputs, run.result
    table = SafeTable(
        title=f"{inputs.name}, {inputs.data}", title_justify="left", show_header=False
    )
    for name, value in protocol_facts(run.settings).items():
        table.add_row(name, value)
    valid, total = int(result.valid.sum()), len(result.valid)
    unanswerable = f" ({total - valid} without a correct image)" if valid < total else ""
    table.add_row("queries", f"{total}{unanswerable}")
    dropped = f" ({inputs.num_dropped} junk dropped)" if inputs.num_dropped else ""
    table.add_row("gallery", f"{result.num_gallery}{dropped}", end_section=True)
    if run.reranked is not None:
        table.add_row("before re-ranking", "", style="italic")
        _add_figures(table, result, run.intervals)
        table.add_row("after re-ranking", "", style="italic")
    _add_figures(table, run.final, run.final_intervals)
    if "pairs" in vars(run):  # computed for a report or thresholds
        for point in run.pairs.points:
            table.add_row(
                f"threshold, FPR {point.asked:.2%}",
                f"{threshold_text(point.threshold, result.protocol.metric)}, "
                f"TPR {point.true_positive_rate:.1%}",
            )
        table.add_section()
    table.add_row("index", f"{result.index} on {result.device}")
    spent = run.stage_seconds.items()
    table.add_row("seconds", ", ".join(f"{n} {v:.2f}" for n, v in spent if v is not None))
    plain_console(soft_wrap=True).print(table)


def print_comparison(comparison: Comparison) -> None:
    """Print every model's figures, and their differences from the first."""
    from reid_dhm.cli.output.tables import SafeTable, plain_console

    runs = comparison.runs
    table = SafeTable(title=f"{len(runs)} models, {runs[0].inputs.data}", title_justify="left")
    for column in ("model", *FIGURES.values()):
        table.add_column(column)
    for run in runs:
        table.add_row(run.name, *(interval_text(run.final_intervals[name]) for name in FIGURES))
    table.add_section()
    for (name, reference), differences in comparison.differences.items():
        texts = (difference_text(differences[key]) for key in FIGURES)
        table.add_row(f"{name} − {reference}", *texts)
    plain_console(soft_wrap=True).print(table)
    print("95 % intervals, people resampled; a difference whose interval holds 0 may be chance")


def print_where(files: Mapping[str, Path | None]) -> None:
    """Print where the results are, and the next command."""
    for name, path in files.items():
        if path is not None:
            print(f"{name}: {printable(path)}")
    if files.get("report") is None:
        print("next: add --report DIR to see ranked lists, thresholds and mistakes in a browser")


def warn_missing_images(faults: Sequence[str]) -> None:
    """Warn about images that a report could not show."""
    if faults:
        logger.warning(
            "%d images could not be read and are missing in the report, the first: %s",
            len(faults),
            faults[0],
        )


def interval_text(estimate: Estimate) -> str:
    """``52.17% (49.90 to 54.31)``."""
    return f"{estimate.value:.2%} ({100 * estimate.low:.2f} to {100 * estimate.high:.2f})"


def difference_text(difference: Estimate) -> str:
    """``+4.62 points (+2.90 to +6.31)``."""
    value, low, high = (100 * end for end in (difference.value, difference.low, difference.high))
    return f"{value:+.2f} points ({low:+.2f} to {high:+.2f})"


def _add_figures(table: Table, result: RetrievalResult, intervals: Mapping[str, Estimate]) -> None:
    table.add_row("mAP", interval_text(intervals["mAP"]), style="bold")
    table.add_row("mINP", interval_text(intervals["mINP"]))
    last = max(result.cmc)
    for k, value in result.cmc.items():
        text = interval_text(intervals["rank1"]) if k == 1 else f"{value:.2%}"
        table.add_row(f"rank-{k}", text, end_section=k == last)
