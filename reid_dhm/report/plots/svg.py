"""Draws SVG plots that are reproducible byte by byte and readable on light and dark pages.

Text, axes and grids take the text colour of the page; data has colours that contrast with both.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

RIGHT, WRONG = "#128a70", "#d4552a"
PALETTE = ("#2f7fd0", "#d4552a", "#128a70", "#a05fc4", "#a8791a", "#7d8590")
INK = "#010203"
"""Placeholder for the text colour of the page."""

_SETTINGS: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "grid.color": INK,
    "grid.alpha": 0.14,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "svg.fonttype": "none",
    "text.parse_math": False,  # model names may contain $
}
_DARK = "<style>@media (prefers-color-scheme:dark){svg{color:#e4e7eb}}</style>"
_FONT = 'font-family="system-ui, sans-serif"'


@dataclass(frozen=True)
class Drawing:
    """A plot: its file name, heading, description in words, and SVG."""

    name: str
    title: str
    words: str
    svg: str

    @property
    def inline(self) -> Markup:
        """The SVG for a page, in the text colour of the page."""
        return Markup(self.svg)

    @property
    def file(self) -> str:
        """The SVG for a file, which follows the colour scheme of the viewer."""
        return self.svg.replace(">", f">{_DARK}", 1)


@contextmanager
def figure(name: str, size: tuple[float, float] = (5.0, 3.1)) -> Iterator[tuple[Axes, list[str]]]:
    """Axes to draw on, and a list that receives the SVG when the block ends."""
    written: list[str] = []
    # The salt makes ids unique among the plots of a page.
    with matplotlib.rc_context({**_SETTINGS, "svg.hashsalt": name}):
        drawing = Figure(size, layout="constrained")
        FigureCanvasSVG(drawing)
        axes = drawing.add_subplot()
        axes.grid(True)
        axes.set_axisbelow(True)
        yield axes, written
        buffer = io.StringIO()
        drawing.savefig(
            buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None}
        )
    written.append(_for_page(buffer.getvalue()))


def _for_page(svg: str) -> str:
    """The ``<svg>`` element, in the colour and font of the page, scaled by the page.

    Only ids that are referred to stay, so plots on one page share none.
    """
    svg = svg[svg.index("<svg") :].strip().replace(INK, "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg).replace("*{", "svg *{", 1)
    # Matplotlib writes `font: 9px 'DejaVu Sans', …` or, in newer versions, separate properties.
    svg = re.sub(r"font-family: [^;\"]*;? ?", "", svg)
    svg = re.sub(r"(font: [^;\"]*?[\d.]+px) [^;\"]*", r"\1 system-ui, sans-serif", svg)
    svg = re.sub(r' (?:width|height)="[\d.]+pt"', "", svg, count=2)
    return svg.replace("<svg", f'<svg color="#1c2024" {_FONT}', 1)
