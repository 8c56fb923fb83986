"""Printing for all commands: strings from outside appear as data, never as markup or codes."""

from __future__ import annotations

import typer

_LONGEST = 1000


def printable(value: object) -> str:
    r"""A value as one line of printable text; the middle of a very long one is left out.

    Control characters and what is not Unicode appear escaped, such as ``\x1b``, so that a name
    cannot move the cursor, change colors or fail to print.
    """
    text = str(value)
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST // 2]} … {text[-_LONGEST // 2 :]}"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def say(message: object, err: bool = False) -> None:
    """Print a message, line by line as :func:`printable` shows it."""
    for line in str(message).split("\n"):
        typer.echo(printable(line), err=err)


def count_of(number: int, noun: str) -> str:
    """``1 tracklet``, ``2 tracklets``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
