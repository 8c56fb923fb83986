"""The plots of a report: CMC, average precision, pair scores, ROC.

Lines differ in style as well as in colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator, PercentFormatter

from reid_dhm.evaluation.run import PairStatistics
from reid_dhm.report.plots.svg import INK, PALETTE, RIGHT, WRONG, Drawing, figure
from reid_dhm.report.scores import Scores
from reid_dhm.retrieval import metrics
from reid_dhm.retrieval.results import RetrievalResult
from reid_dhm.text import printable

STYLES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)))
_RANKS = 50
_BINS = 60
_LEAST_RATE = 1e-6  # where a ROC curve begins
_LONGEST = 60  # characters of a name in a legend


def cmc_curve(results: Sequence[tuple[str, RetrievalResult]]) -> Drawing:
    """Share of queries with a correct image within rank k, for one or several results."""
    last = min(_RANKS, max(result.num_gallery for _, result in results))
    ranks = list(range(1, last + 1))
    words = []
    with figure("cmc") as (axes, svg):
        lowest = 1.0
        for (name, result), colour, style in zip(results, *_series(len(results)), strict=True):
            share = metrics.cumulative_match(result.first_rank, ranks)
            axes.plot(
                ranks, list(share.values()), color=colour, linestyle=style, label=_label(name)
            )
            lowest = min(lowest, share[1])
            words.append(_of(name) + ", ".join(f"{share[k]:.1%} at rank {k}" for k in _few(last)))
        axes.set_xscale("log")
        _plain_ticks(axes, [k for k in (1, 2, 5, 10, 20, 50) if k <= last])
        axes.set_ylim(max(0.0, np.floor(lowest * 10 - 0.5) / 10), 1.005)
        _percent(axes)
        axes.set_xlabel("rank k")
        axes.set_ylabel("correct within rank k")
        _legend(axes, results, "lower right")
    return Drawing("cmc", "CMC curve", "CMC curve: " + "; ".join(words) + ".", svg[0])


def precision_histogram(results: Sequence[tuple[str, RetrievalResult]]) -> Drawing:
    """Histogram of average precision over queries."""
    edges = np.linspace(0, 1, 21)
    words = []
    with figure("average_precision") as (axes, svg):
        for (name, result), colour, style in zip(results, *_series(len(results)), strict=True):
            values = result.average_precision[result.valid]
            counts, _ = np.histogram(values, edges)
            axes.stairs(
                counts, edges, color=colour, linestyle=style, linewidth=1.4, label=_label(name)
            )
            if len(results) == 1:
                axes.stairs(counts, edges, fill=True, color=colour, alpha=0.3)
            axes.axvline(result.mAP, color=colour, linestyle=":", linewidth=1.2)
            low, high = (values < 0.05).sum(), (values >= 0.95).sum()
            words.append(
                f"{_of(name)}{low:,} of {len(values):,} queries below 5%, {high:,} at 95% or above"
            )
        axes.set_xlim(0, 1)
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.set_xlabel("average precision (dotted: mAP)")
        axes.set_ylabel("queries")
        _legend(axes, results, "upper left")
    text = "Histogram of average precision: " + "; ".join(words) + "."
    return Drawing("average_precision", "Average precision over queries", text, svg[0])


def score_distributions(pairs: PairStatistics, scores: Scores) -> Drawing:
    """Score distributions of same-person and different-person pairs, with the thresholds."""
    edges, same, different = pairs.scores.histogram(_BINS)
    edges = scores.sign * edges
    with figure("scores") as (axes, svg):
        for density, colour, style, label in (
            (same, RIGHT, "-", "same person"),
            (different, WRONG, "--", "different people"),
        ):
            axes.stairs(density, edges, color=colour, linestyle=style, linewidth=1.4, label=label)
            axes.stairs(density, edges, fill=True, color=colour, alpha=0.18)
        top = axes.get_ylim()[1]
        axes.set_ylim(0, top * 1.12)
        for point in pairs.points:
            place = scores.shown(point.threshold)
            axes.axvline(place, color=INK, linewidth=0.8, linestyle=(0, (2, 2)))
            axes.text(
                place,
                top * 1.12,
                f"{point.asked:g}",
                fontsize=7.5,
                rotation=90,
                va="top",
                ha="right",
            )
        axes.set_xlabel(f"{scores.name} (vertical: thresholds by false-positive rate)")
        axes.set_yticks([])
        axes.set_ylabel("density of pairs")
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, handlelength=3)
    words = "Score distributions of same-person and different-person pairs; thresholds at " + (
        ", ".join(f"{scores.text(p.threshold)} (rate {p.asked:g})" for p in pairs.points)
        or "no rate"
    )
    return Drawing("scores", f"{scores.name.capitalize()} of pairs", words + ".", svg[0])


def roc_curve(models: Sequence[tuple[str, PairStatistics]]) -> Drawing:
    """True-positive rate over false-positive rate of the decision "same person", from 1e-6 up."""
    words = []
    with figure("roc") as (axes, svg):
        for (name, pairs), colour, style in zip(models, *_series(len(models)), strict=True):
            false, true = pairs.scores.roc(500)
            shown = false >= _LEAST_RATE
            axes.plot(false[shown], true[shown], color=colour, linestyle=style, label=_label(name))
            marked = [p for p in pairs.points if p.false_positive_rate >= _LEAST_RATE]
            axes.plot(
                [p.false_positive_rate for p in marked],
                [p.true_positive_rate for p in marked],
                color=colour,
                linestyle="none",
                marker="o",
                markersize=4.5,
            )
            words.append(
                _of(name)
                + ", ".join(
                    f"{p.true_positive_rate:.1%} true at {p.asked:g} false positives"
                    for p in pairs.points
                )
            )
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(_power_of_ten))
        axes.set_xlim(right=1)
        axes.set_ylim(0, 1.005)
        _percent(axes)
        axes.set_xlabel("false-positive rate of pairs")
        axes.set_ylabel("true-positive rate")
        _legend(axes, models, "lower right")
    return Drawing("roc", "ROC of pairs", "ROC curve: " + "; ".join(words) + ".", svg[0])


def _series(count: int) -> tuple[list[str], list[Any]]:
    """Colours and line styles of ``count`` lines."""
    colours = [PALETTE[number % len(PALETTE)] for number in range(count)]
    # The next round of colours comes with other styles.
    styles = [STYLES[(number + number // len(PALETTE)) % len(STYLES)] for number in range(count)]
    return colours, styles


def _legend(axes: Axes, lines: Sequence[object], place: Any) -> None:
    if len(lines) > 1:
        axes.legend(loc=place, handlelength=3)


def _label(name: str) -> str:
    """The name for a legend; Matplotlib hides labels that begin with an underscore."""
    shown = printable(name, _LONGEST)
    return f" {shown}" if shown.startswith("_") else shown


def _percent(axes: Axes) -> None:
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share * 100:.4g}%"))


def _plain_ticks(axes: Axes, ticks: Sequence[int]) -> None:
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())


def _power_of_ten(value: float, _: int) -> str:
    """0.001 as 10⁻³."""
    exponent = str(round(np.log10(value)))
    return "10" + exponent.translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _few(last: int) -> list[int]:
    return [k for k in (1, 5, 10, 20) if k <= last]


def _of(name: str) -> str:
    return f"{printable(name, _LONGEST)} " if name else ""
