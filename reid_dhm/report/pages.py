"""Renders templates to files: number formats, a page per query, data for the search box."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from reid_dhm.report.plots.svg import Drawing
from reid_dhm.report.sections.ranked_lists import RankedLists
from reid_dhm.retrieval.results import RetrievalResult
from reid_dhm.text import printable


def environment() -> jinja2.Environment:
    """The template environment: values are printable and escaped, undefined names are errors."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("reid_dhm.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=_printable,
    )
    made.filters |= {
        "few": few,
        "number": "{:,}".format,
        "one_in": one_in,
        "percent": percent,
        "points": points,
    }
    return made


def _printable(value: Any) -> Any:
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def percent(share: float, digits: int = 1) -> Markup:
    """A share as percent, with the exact value in a ``data`` element."""
    return Markup('<data value="{}">{}%</data>').format(float(share), f"{share * 100:.{digits}f}")


def points(difference: float) -> Markup:
    """A difference of shares in percentage points, signed."""
    text = f"{difference * 100:+.1f}".replace("-", "\N{MINUS SIGN}")
    return Markup('<data value="{}">{}</data>').format(float(difference), text)


def one_in(rate: float) -> str:
    """0.001 as ``1 in 1,000``; rates above 1 in 2 as percent."""
    return f"1 in {round(1 / rate):,}" if 0 < rate <= 0.5 else f"{rate:.0%}"


def few(count: float) -> str:
    """An expected number: two digits below 10, an integer above."""
    return f"{count:.2g}" if count < 10 else f"{count:,.0f}"


class Pages:
    """Writes the pages of one report and makes their links.

    Args:
        folder: of the report.
        name: shown at the top of every page.
        num_queries: determines the digits of page names.
    """

    def __init__(self, folder: Path, name: str, num_queries: int) -> None:
        self.folder = folder
        self.name = name
        self.digits = max(4, len(str(num_queries - 1)))
        self.environment = environment()

    def link(self, row: int) -> str:
        """Link from the overview to the page of a query."""
        return f"queries/{self._file(row)}"

    def write(self, page: str, template: str, **content: Any) -> None:
        """Render a page in the folder itself."""
        self._write(page, template, root="", link=self.link, **content)

    def write_queries(
        self,
        lists: RankedLists,
        on_done: Callable[[int], None],
        *,
        files: bool = False,
        judged: RetrievalResult | None = None,
    ) -> None:
        """Write a page per query, and ``queries.js`` for the search box.

        Args:
            lists: of the queries.
            on_done: called with 1 after each page.
            files: whether to list the file names of the answers.
            judged: result by which the search box marks queries as correct or wrong.
        """
        (self.folder / "queries").mkdir()
        last = len(lists.query) - 1
        for row in range(last + 1):
            before = self._file(row - 1) if row > 0 else None
            after = self._file(row + 1) if row < last else None
            self._write(
                self.link(row),
                "query.html",
                root="../",
                row=row,
                lists=lists,
                files=files,
                before=before,
                after=after,
            )
            on_done(1)
        text = json.dumps(_search_data(lists, self.digits, judged), separators=(",", ":"))
        (self.folder / "queries.js").write_text(f"var reportQueries={text};\n", encoding="utf-8")

    def write_figures(self, drawings: Iterable[Drawing]) -> None:
        """Write each plot as an SVG file."""
        (self.folder / "figures").mkdir()
        for drawing in drawings:
            path = self.folder / "figures" / f"{drawing.name}.svg"
            path.write_text(drawing.file + "\n", encoding="utf-8")

    def _file(self, row: int) -> str:
        return f"{row:0{self.digits}d}.html"

    def _write(self, page: str, template: str, **content: Any) -> None:
        text = self.environment.get_template(template).render(name=self.name, **content)
        (self.folder / page).write_text(text, encoding="utf-8")


def _search_data(
    lists: RankedLists, digits: int, judged: RetrievalResult | None
) -> dict[str, Sequence[Any] | int | None]:
    """Columns of query data."""
    query = lists.query
    return {
        "digits": digits,
        "pids": query.pids.tolist(),
        "camids": query.camids.tolist(),
        "names": None
        if query.paths is None
        else [printable(Path(path).name) for path in query.paths],
        "right": None if judged is None else (judged.matched_within(1) > 0.5).astype(int).tolist(),
    }
