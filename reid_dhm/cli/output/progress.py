"""Progress bars on stderr, if it is a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from reid_dhm.cli.output import printable


class _Rate(ProgressColumn):
    """Steps per second."""

    def render(self, task: Task) -> Text:
        """The rate, or nothing before the first step."""
        return Text(f"{task.speed:.0f}/s" if task.speed else "")


Update = Callable[[int, int], None]
"""Called with the steps done and the total."""


@contextmanager
def progress_bar(title: str, shown: bool = True) -> Iterator[Update]:
    """A bar that is updated with (done, total); invisible if stderr is not a terminal."""
    with progress_bars(title, shown=shown) as (update,):
        yield update


@contextmanager
def progress_bars(*titles: str, shown: bool = True) -> Iterator[list[Update]]:
    """Bars in one display, each visible from its first update to its last."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns, console=console, disable=not (shown and console.is_terminal), transient=True
    ) as display:
        tasks = [display.add_task(printable(title), total=None, visible=False) for title in titles]
        yield [partial(_update, display, task) for task in tasks]


def _update(display: Progress, task: TaskID, done: int, total: int) -> None:
    display.update(task, completed=done, total=total, visible=done < total)
