"""Counts the steps of writing a report."""

from __future__ import annotations

from collections.abc import Callable


def counter(on_progress: Callable[[int, int], None] | None, total: int) -> Callable[[int], None]:
    """A function that adds the steps done since its last call and reports the sum."""
    done = 0

    def add(count: int) -> None:
        nonlocal done
        done += count
        if on_progress is not None:
            on_progress(done, total)

    return add
