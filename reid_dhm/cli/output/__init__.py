"""Printing for all commands: strings from outside appear as data, never as markup or codes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer

from reid_dhm.text import printable, shell_word


def say(message: object, err: bool = False) -> None:
    """Print a message, line by line as :func:`printable` shows it."""
    for line in str(message).split("\n"):
        typer.echo(printable(line), err=err)


def suggest(command: str, note: str = "") -> None:
    """Print the command to go on with, whole however long it is."""
    typer.echo(f"next: {command}{f' ({note})' * bool(note)}")


def count_of(number: int, noun: str, plural: str | None = None) -> str:
    """``1 tracklet``, ``2 tracklets``; ``plural`` where it does not end in s."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def command_line(command: str, options: Mapping[str, Any]) -> str:
    """A command to suggest, quoted for a shell.

    Args:
        command: of ``reid-dhm``, such as ``people list``.
        options: values by option; None and False are left out, a list repeats its option, and a
            pair is HEIGHTxWIDTH.
    """
    words = ["reid-dhm", *command.split()]
    for option, value in options.items():
        if value is None or value is False:
            continue
        if value is True:
            words.append(option)
        elif isinstance(value, list):
            words += [word for part in value for word in (option, str(part))]
        else:
            words += [option, "x".join(map(str, value)) if isinstance(value, tuple) else str(value)]
    return " ".join(map(shell_word, words))
