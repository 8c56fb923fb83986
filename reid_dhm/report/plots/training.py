"""Plots of trainings over their epochs: accuracy, evaluations, and the gradients' agreement."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from reid_dhm.evaluation.repeats import Condition
from reid_dhm.report.plots.evaluation import STYLES
from reid_dhm.report.plots.svg import PALETTE, Drawing, figure
from reid_dhm.text import printable

_LONGEST = 60  # characters of a name in a legend
Points = Mapping[int, Sequence[float]]
"""Epoch (from 1) → a value of each seed."""


class _Line(NamedTuple):
    """A condition has one colour in all plots; its branches differ in style."""

    name: str
    points: Points
    colour: int
    style: int | None = None


def learning_curves(conditions: Sequence[Condition], figure_name: str) -> list[Drawing]:
    """Accuracy of the main head on training images, and a figure on test images, over epochs."""
    drawings = []
    for key, name, title in (
        ("train/accuracy", "accuracy", "Accuracy of the main head on training images"),
        (f"test/{figure_name}", "evaluations", f"{figure_name} on test images"),
    ):
        lines = [
            _Line(each.name, _points(each, key), number) for number, each in enumerate(conditions)
        ]
        if max(len(line.points) for line in lines) > 1:
            label = key.rpartition("/")[2]
            drawings.append(_plot(name, title, label, lines, percent=True))
    return drawings


def gradient_plots(conditions: Sequence[Condition]) -> list[Drawing]:
    """Per shared stage: cosine of the main loss's gradient to each branch's, and its variance.

    Empty where no run measured them (``train.diagnose_every``).
    """
    keys = [
        key
        for each in conditions
        for records in each.records.values()
        for record in records
        for key in record
    ]
    drawings = []
    for number, stage in enumerate(_unique(keys, "gradient/cosine/", _stage)):
        branches = _unique(keys, f"gradient/cosine/{stage}/", str)
        lines = [
            _Line(f"{each.name}, branch {branch}", points, colour, int(branch) - 1)
            for colour, each in enumerate(conditions)
            for branch in branches
            if (points := _points(each, f"gradient/cosine/{stage}/{branch}"))
        ]
        title = f"Gradient cosine in {stage}"
        drawings.append(
            _plot(f"gradient_cosine_{number}", title, "cosine, main loss to branch loss", lines)
        )
    for number, stage in enumerate(_unique(keys, "gradient/variance/", str)):
        lines = [
            _Line(each.name, points, colour)
            for colour, each in enumerate(conditions)
            if (points := _points(each, f"gradient/variance/{stage}"))
        ]
        title = f"Gradient variance in {stage}"
        drawings.append(
            _plot(f"gradient_variance_{number}", title, "variance / |mean|², main loss", lines)
        )
    return drawings


def _stage(rest: str) -> str:
    return rest.rpartition("/")[0]


def _unique(keys: Sequence[str], prefix: str, part: Callable[[str], str]) -> list[str]:
    found = (part(key.removeprefix(prefix)) for key in keys if key.startswith(prefix))
    return list(dict.fromkeys(found))


def _points(condition: Condition, key: str) -> dict[int, list[float]]:
    points: dict[int, list[float]] = {}
    for records in condition.records.values():
        for record in records:
            if isinstance(record.get(key), (int, float)):
                points.setdefault(record["epoch"] + 1, []).append(float(record[key]))
    return dict(sorted(points.items()))


def _plot(
    name: str, title: str, label: str, lines: Sequence[_Line], percent: bool = False
) -> Drawing:
    """Means over seeds, with a band from the lowest to the highest."""
    words = []
    with figure(name) as (axes, svg):
        for line, points, number, chosen in lines:
            if not points:
                continue
            colour = PALETTE[number % len(PALETTE)]
            style = STYLES[(number if chosen is None else chosen) % len(STYLES)]
            epochs, means = list(points), [float(np.mean(values)) for values in points.values()]
            marker = "o" if len(epochs) < 10 else None
            axes.plot(
                epochs,
                means,
                color=colour,
                linestyle=style,
                marker=marker,
                markersize=3.5,
                label=printable(f" {line}" if line.startswith("_") else line, _LONGEST),
            )
            low, high = ([pick(values) for values in points.values()] for pick in (min, max))
            if low != high:
                axes.fill_between(epochs, low, high, color=colour, alpha=0.15, linewidth=0)
            words.append(
                f"{printable(line, _LONGEST)} {_number(means[0], percent)} at epoch {epochs[0]}, "
                f"{_number(means[-1], percent)} at epoch {epochs[-1]}"
            )
        _dress(axes, label, percent, len(lines))
    return Drawing(name, title, f"{title}: " + "; ".join(words) + ".", svg[0])


def _dress(axes: Axes, label: str, percent: bool, lines: int) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch")
    axes.set_ylabel(label)
    if percent:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share * 100:.4g}%"))
    if lines > 1:
        place: dict[str, Any] = {"loc": "best", "handlelength": 3}
        axes.legend(**place)


def _number(value: float, percent: bool) -> str:
    return f"{value:.1%}" if percent else f"{value:.3g}"
