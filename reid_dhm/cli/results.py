"""What an evaluation prints, and what it writes for machines."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reid_dhm.evaluation.inputs import Sides

if TYPE_CHECKING:
    from rich.table import Table

    from reid_dhm.evaluation.calibration import OperatingPoint
    from reid_dhm.evaluation.confidence import Estimate
    from reid_dhm.evaluation.run import Assessment, Measured
    from reid_dhm.retrieval import RetrievalResult

logger = logging.getLogger(__name__)

NAMES = {"mAP": "mAP", "mINP": "mINP", "rank1": "rank-1"}


def figures_of(sides: Sides, assessment: Assessment) -> dict[str, Any]:
    """What ``--json`` writes: figures of the last ranking; seconds of what was not done are null.

    After re-ranking, ``before_rerank`` holds the figures of the ranking before it.
    """
    figures = {
        **assessment.final.summary(),
        "num_dropped": sides.num_dropped,
        "intervals": _bounds(assessment.final_intervals),
        "seconds": stage_seconds(sides, assessment),
    }
    if assessment.reranked is not None:
        before = assessment.result.summary()
        kept = {name: before[name] for name in ("mAP", "mINP", "cmc", "index", "device")}
        figures["before_rerank"] = {**kept, "intervals": _bounds(assessment.intervals)}
    return figures


def stage_seconds(sides: Sides, assessment: Assessment) -> dict[str, float | None]:
    """Seconds of every stage, None where it was not run."""
    seconds = assessment.seconds
    contract = {name: seconds.get(name) for name in ("rank", "search", "rerank")}
    return {"embed": sides.seconds, **contract, **seconds}


def print_results(
    sides: Sides, assessment: Assessment, points: list[OperatingPoint] | None
) -> None:
    """Print the figures with their intervals; ``points`` are the thresholds, if they are known."""
    from rich.console import Console
    from rich.table import Table

    from reid_dhm.evaluation.calibration import threshold_text
    from reid_dhm.evaluation.metadata import protocol_facts

    result, final = assessment.result, assessment.final
    table = Table(title=f"{sides.name}, {sides.data}", title_justify="left", show_header=False)
    for name, value in protocol_facts(assessment.settings).items():
        table.add_row(name, value)
    valid, total = int(result.valid.sum()), len(result.valid)
    unanswerable = f" ({total - valid} without a correct image)" if valid < total else ""
    table.add_row("queries", f"{total}{unanswerable}")
    dropped = f" ({sides.num_dropped} junk dropped)" if sides.num_dropped else ""
    table.add_row("gallery", f"{result.num_gallery}{dropped}", end_section=True)
    if assessment.reranked is not None:
        table.add_row("before re-ranking", "", style="italic")
        _add_figures(table, result, assessment.intervals)
        table.add_row("after re-ranking", "", style="italic")
    _add_figures(table, final, assessment.final_intervals)
    for number, point in enumerate(points or (), start=1):
        table.add_row(
            f"threshold, FPR {point.asked:.2%}",
            f"{threshold_text(point.threshold, result.protocol.metric)}, "
            f"TPR {point.true_positive_rate:.1%}",
            end_section=number == len(points or ()),
        )
    table.add_row("index", f"{result.index} on {result.device}")
    spent = stage_seconds(sides, assessment).items()
    table.add_row("seconds", ", ".join(f"{n} {v:.2f}" for n, v in spent if v is not None))
    Console(soft_wrap=True).print(table)


def interval_text(estimate: Estimate) -> str:
    """``52.17% (49.90 to 54.31)``."""
    return f"{estimate.value:.2%} ({100 * estimate.low:.2f} to {100 * estimate.high:.2f})"


def difference_text(difference: Estimate) -> str:
    """``+4.62 points (+2.90 to +6.31)``."""
    value, low, high = (100 * end for end in (difference.value, difference.low, difference.high))
    return f"{value:+.2f} points ({low:+.2f} to {high:+.2f})"


def keep_other_thresholds(path: Path, sides: Sides, measured: Measured) -> bool:
    """Whether a file of the same model says more than these pairs, or something of other data."""
    from reid_dhm.evaluation.thresholds import read_thresholds

    if not path.is_file():
        return False
    stored = read_thresholds(path)
    num_pairs = int(measured.pairs.same.sum() + measured.pairs.different.sum())
    more = stored.num_same + stored.num_different > num_pairs
    if stored.model != sides.fingerprint or not (stored.dataset != sides.data or more):
        return False
    logger.warning(
        "%s keeps the thresholds of %s; delete it first to have those of %s",
        *(path, stored.dataset, sides.data),
    )
    return True


def save_thresholds(path: Path, sides: Sides, measured: Measured) -> None:
    """Write what a gallery search needs to tell how probable a match is."""
    from reid_dhm.evaluation.thresholds import Thresholds, write_thresholds

    pairs = measured.pairs
    path.parent.mkdir(parents=True, exist_ok=True)
    write_thresholds(
        path,
        Thresholds(
            metric=pairs.metric,
            dataset=sides.data,
            model=sides.fingerprint,
            num_same=int(pairs.same.sum()),
            num_different=int(pairs.different.sum()),
            operating_points=tuple(measured.points),
            calibration=measured.calibration,
        ),
    )


def _add_figures(table: Table, result: RetrievalResult, intervals: Mapping[str, Estimate]) -> None:
    table.add_row("mAP", interval_text(intervals["mAP"]), style="bold")
    table.add_row("mINP", interval_text(intervals["mINP"]))
    last = max(result.cmc)
    for k, value in result.cmc.items():
        text = interval_text(intervals["rank1"]) if k == 1 else f"{value:.2%}"
        table.add_row(f"rank-{k}", text, end_section=k == last)


def _bounds(intervals: Mapping[str, Estimate]) -> dict[str, list[float]]:
    return {name: [estimate.low, estimate.high] for name, estimate in intervals.items()}
