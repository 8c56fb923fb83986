"""Printing for all commands: strings from outside appear as data, never as markup or codes."""

from __future__ import annotations

import typer

from reid_dhm.text import printable


def say(message: object, err: bool = False) -> None:
    """Print a message, line by line as :func:`printable` shows it."""
    for line in str(message).split("\n"):
        typer.echo(printable(line), err=err)


def count_of(number: int, noun: str) -> str:
    """``1 tracklet``, ``2 tracklets``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
