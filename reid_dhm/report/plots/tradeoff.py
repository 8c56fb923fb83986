"""The plot of accuracy over speed, with the models that no other beats in both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from reid_dhm.report.plots.svg import INK, PALETTE, Drawing, figure
from reid_dhm.text import printable

_LONGEST = 40  # characters of a name


@dataclass(frozen=True, slots=True)
class Measured:
    """A model in the plot.

    Attributes:
        name: shown beside its point.
        rate: images per second.
        accuracy: a share, 0 to 1.
        low, high: ends of its interval; equal where there is none.
    """

    name: str
    rate: float
    accuracy: float
    low: float
    high: float


def front(models: Sequence[Measured]) -> list[Measured]:
    """The models for which no other is both faster and more accurate, the fastest first."""
    best: list[Measured] = []
    for model in sorted(models, key=lambda model: (-model.rate, -model.accuracy)):
        if not best or model.accuracy > best[-1].accuracy:
            best.append(model)
    return best


def accuracy_over_speed(models: Sequence[Measured], accuracy: str) -> Drawing:
    """Every model by images per second and accuracy; the front is joined by a line.

    Args:
        models: at least one.
        accuracy: what is measured, for the axis.
    """
    leading = front(models)
    with figure("tradeoff", (7.6, 3.8)) as (axes, svg):
        axes.plot(
            [model.rate for model in leading],
            [model.accuracy for model in leading],
            color=INK,
            linewidth=0.9,
            linestyle=(0, (4, 2)),
            alpha=0.6,
        )
        for model in models:
            leads = model in leading
            colour = PALETTE[0] if leads else PALETTE[5]
            if model.low < model.high:
                axes.vlines(model.rate, model.low, model.high, color=colour, linewidth=1, alpha=0.5)
            axes.plot(
                [model.rate], [model.accuracy], color=colour, marker="o" if leads else "s",
                markersize=6 if leads else 5, linestyle="none",
            )  # fmt: skip
        rates = [model.rate for model in models]
        axes.set_xscale("log")
        axes.set_xlim(min(rates) / 1.6, max(rates) * 1.6)
        _label(axes, models)
        axes.xaxis.set_major_locator(FixedLocator(_ticks(*axes.get_xlim())))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share * 100:.4g}%"))
        axes.set_xlabel("images per second")
        axes.set_ylabel(accuracy)
    words = "; ".join(
        f"{printable(model.name, _LONGEST)} {model.accuracy:.1%} at {model.rate:,.0f} images/s"
        for model in models
    )
    text = f"{accuracy} over speed: {words}. On the line: no other is faster and more accurate."
    return Drawing("tradeoff", "Accuracy and speed", text, svg[0])


def _label(axes: object, models: Sequence[Measured]) -> None:
    """Names beside the points, alternately above and below where points are close."""
    ordered = sorted(models, key=lambda model: model.rate)
    for number, model in enumerate(ordered):
        above = number % 2 == 0
        axes.annotate(  # type: ignore[attr-defined]
            printable(model.name, _LONGEST),
            (model.rate, model.accuracy),
            textcoords="offset points",
            xytext=(7, 6 if above else -11),
            fontsize=7.5,
        )


def _ticks(low: float, high: float) -> list[float]:
    steps = [mantissa * 10.0**power for power in range(-2, 7) for mantissa in (1, 2, 5)]
    return [step for step in steps if low <= step <= high]
