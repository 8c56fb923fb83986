"""Calls commands in this process, thousands of them: the parser is built once."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from typing import Any
from unittest import mock


def call(*arguments: object) -> tuple[int, str]:
    """Run a command: its exit code, and what it printed.

    Raises:
        RuntimeError: it did not end as a command should, but in a traceback or with another code.
    """
    from reid_dhm import cli

    printed = io.BytesIO()
    stream = io.TextIOWrapper(printed, "utf-8", write_through=True)
    code: Any = None
    with (
        redirect_stdout(stream),
        redirect_stderr(stream),
        mock.patch("sys.stdin", io.StringIO()),
        mock.patch.object(cli, "app", _parser()),
    ):
        try:
            cli.main([str(argument) for argument in arguments])
        except SystemExit as done:
            code = done.code
    stream.flush()
    text = printed.getvalue().decode()
    if code not in (0, 1, 2) or "Traceback" in text:
        raise RuntimeError(f"{arguments!r:.3000}\nended with {code} and printed\n{text:.3000}")
    if code == 1 and not any(line.startswith("error: ") for line in text.splitlines()):
        raise RuntimeError(f"{arguments!r:.3000}\ngave no reason and printed\n{text:.3000}")
    return int(code), text


@cache
def commands() -> dict[str, list[Any]]:
    """Every command and its parameters."""

    def walk(command: Any, words: tuple[str, ...]) -> Iterator[tuple[str, list[Any]]]:
        for name, below in getattr(command, "commands", {}).items():
            yield from walk(below, (*words, name))
        if not hasattr(command, "commands"):
            yield " ".join(words), command.params

    return dict(walk(_parser(), ()))


@cache
def _parser() -> Any:
    import typer

    from reid_dhm.cli import app

    return typer.main.get_command(app)
