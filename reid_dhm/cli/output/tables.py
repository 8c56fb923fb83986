"""Rich tables and consoles that take no string from outside for markup or terminal codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from reid_dhm.cli.output import say
from reid_dhm.text import printable


class SafeTable(Table):
    """A table that shows strings as :func:`~reid_dhm.text.printable` does."""

    def __init__(self, *headers: Any, title: str | None = None, **options: Any) -> None:
        shown = None if title is None else Text(printable(title), style="table.title")
        super().__init__(*headers, title=shown, **options)

    def add_column(self, header: RenderableType = "", *args: Any, **options: Any) -> None:
        """Add a column."""
        super().add_column(_safe(header), *args, **options)

    def add_row(self, *cells: RenderableType | None, **options: Any) -> None:
        """Add a row."""
        super().add_row(*(_safe(cell) for cell in cells), **options)


def print_rows(rows: Sequence[Mapping[str, Any]], empty: str) -> None:
    """A table with the rows' keys as header, without line breaks; ``empty`` if there are none."""
    if not rows:
        say(empty)
        return
    table = SafeTable(*rows[0], box=None)
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    width = Console(width=1_000_000).measure(table).maximum
    plain_console(width=max(width, Console().width)).print(table)


def plain_console(**options: Any) -> Console:
    """A console on stdout that reads no markup."""
    return Console(markup=False, emoji=False, **options)


def _safe(cell: Any) -> Any:
    return Text(printable(cell)) if isinstance(cell, str) else cell
