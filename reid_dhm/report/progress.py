"""One count over everything that a report writes."""

from __future__ import annotations

from collections.abc import Callable

from reid_dhm.report.content import Progress


def counter(on_progress: Progress | None, total: int) -> Callable[[int], None]:
    """A function that takes what was done since its last call, and reports the sum."""
    done = 0

    def add(count: int) -> None:
        nonlocal done
        done += count
        if on_progress is not None:
            on_progress(done, total)

    return add
