"""From templates to files: how numbers are written, a page per query, data for the search box."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from reid_dhm.report.cards import Deck
from reid_dhm.report.svg import Drawing
from reid_dhm.retrieval.results import RetrievalResult


def environment() -> jinja2.Environment:
    """Templates that escape what they are given and refuse names that nobody gave."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("reid_dhm.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    made.filters |= {
        "few": few,
        "number": "{:,}".format,
        "one_in": one_in,
        "percent": percent,
        "points": points,
    }
    return made


def percent(share: float, digits: int = 1) -> Markup:
    """A share of 1 as per cent, with the exact value for machines."""
    return Markup('<data value="{}">{}%</data>').format(float(share), f"{share * 100:.{digits}f}")


def points(difference: float) -> Markup:
    """A difference of shares in percentage points, signed."""
    text = f"{difference * 100:+.1f}".replace("-", "\N{MINUS SIGN}")
    return Markup('<data value="{}">{}</data>').format(float(difference), text)


def one_in(rate: float) -> str:
    """0.001 as ``1 in 1,000``; rates above 1 in 2 as per cent."""
    return f"1 in {round(1 / rate):,}" if 0 < rate <= 0.5 else f"{rate:.0%}"


def few(count: float) -> str:
    """An expected number: two digits below 10, whole above."""
    return f"{count:.2g}" if count < 10 else f"{count:,.0f}"


class Pages:
    """Links and pages of one report.

    Args:
        folder: where it is written.
        name: shown on top of every page.
        num_queries: fixes the digits of the pages' names.
    """

    def __init__(self, folder: Path, name: str, num_queries: int) -> None:
        self.folder = folder
        self.name = name
        self.digits = max(4, len(str(num_queries - 1)))
        self.environment = environment()

    def link(self, row: int) -> str:
        """From the overview to the page of a query."""
        return f"queries/{self._file(row)}"

    def write(self, page: str, template: str, **content: Any) -> None:
        """Fill a template of a page that lies directly in the folder."""
        self._write(page, template, root="", link=self.link, **content)

    def write_queries(
        self,
        deck: Deck,
        on_done: Callable[[int], None],
        *,
        files: bool = False,
        judged: RetrievalResult | None = None,
    ) -> None:
        """Write a page per query, and ``queries.js`` for the search box.

        Args:
            deck: makes the cards.
            on_done: told the number of pages done since it was last called.
            files: list the names of the answers' files.
            judged: the search box says whether each query's first answer in it is right.
        """
        (self.folder / "queries").mkdir()
        last = len(deck.query) - 1
        for row in range(last + 1):
            before = self._file(row - 1) if row > 0 else None
            after = self._file(row + 1) if row < last else None
            self._write(
                self.link(row),
                "query.html",
                root="../",
                lists=deck.lists(row),
                score_names=deck.score_names,
                files=files,
                before=before,
                after=after,
            )
            on_done(1)
        text = json.dumps(_search_data(deck, self.digits, judged), separators=(",", ":"))
        (self.folder / "queries.js").write_text(f"var reportQueries={text};\n", encoding="utf-8")

    def write_figures(self, drawings: Iterable[Drawing]) -> None:
        """Write each figure as a file of its own."""
        (self.folder / "figures").mkdir()
        for drawing in drawings:
            path = self.folder / "figures" / f"{drawing.name}.svg"
            path.write_text(drawing.file + "\n", encoding="utf-8")

    def _file(self, row: int) -> str:
        return f"{row:0{self.digits}d}.html"

    def _write(self, page: str, template: str, **content: Any) -> None:
        # Compiled once: the environment keeps templates.
        text = self.environment.get_template(template).render(name=self.name, **content)
        # Names of files need not be text; what is not becomes a question mark.
        (self.folder / page).write_text(text, encoding="utf-8", errors="replace")


def _search_data(
    deck: Deck, digits: int, judged: RetrievalResult | None
) -> dict[str, Sequence[Any] | int | None]:
    """Columns over queries."""
    query = deck.query
    return {
        "digits": digits,
        "pids": query.pids.tolist(),
        "camids": query.camids.tolist(),
        "names": None if query.paths is None else [Path(path).name for path in query.paths],
        "right": None if judged is None else (judged.matched_within(1) > 0.5).astype(int).tolist(),
    }
