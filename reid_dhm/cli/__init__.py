"""The command ``reid-dhm``: one subcommand per file, and the exit code and message of a failure.

Subcommands import heavy libraries when they run, so that ``--help`` is fast.
"""

from __future__ import annotations

import io
import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from reid_dhm.cli.benchmark import benchmark
from reid_dhm.cli.compare import compare
from reid_dhm.cli.demo import demo
from reid_dhm.cli.embed import embed
from reid_dhm.cli.eval import evaluate
from reid_dhm.cli.experiment import experiment
from reid_dhm.cli.export import export
from reid_dhm.cli.gallery import gallery
from reid_dhm.cli.index_video import index_video
from reid_dhm.cli.models import models
from reid_dhm.cli.people import people
from reid_dhm.cli.search import search
from reid_dhm.cli.serve import serve
from reid_dhm.cli.train import train
from reid_dhm.errors import ReidError
from reid_dhm.text import printable
from reid_dhm.version import __version__

# Typer makes only this one of its errors public; the others have the same base.
_UsageError: type[Any] = typer.BadParameter.__mro__[1]


class _Commands(TyperGroup):
    """The commands; what users typed appears in messages about it as :func:`printable` shows it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the options before the command."""
        with _printable_usage():
            return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Parse the rest and run the command."""
        with _printable_usage():
            return super().invoke(ctx)


@contextmanager
def _printable_usage() -> Iterator[None]:
    try:
        yield
    except _UsageError as error:
        message = getattr(error, "message", None)
        if message:
            error.message = printable(" ".join(message.split()))
        raise


app = typer.Typer(
    name="reid-dhm",
    cls=_Commands,
    help="Person re-identification with Dynamic Hierarchical Mimicking.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command("demo")(demo)
app.command("train")(train)
app.command("experiment")(experiment)
app.command("eval")(evaluate)
app.command("compare")(compare)
app.command("embed")(embed)
app.command("export")(export)
app.command("serve")(serve)
app.command("index-video")(index_video)
app.command("search")(search)
app.add_typer(gallery, name="gallery")
app.add_typer(people, name="people")
app.add_typer(models, name="models")
app.add_typer(benchmark, name="benchmark")


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"reid-dhm {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print and exit."),
    ] = False,
) -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command and exit: 0 done, 1 failed (one line says why), 2 wrong usage, 130 interrupted.

    Args:
        arguments: what follows ``reid-dhm``; ``None`` takes those of the process.
    """
    for noise in ("Cython evaluation", "Detected pickle protocol"):  # torchreid, torch
        warnings.filterwarnings("ignore", message=noise)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal without Unicode is not an error
            stream.reconfigure(errors="backslashreplace")
    logger, handler = logging.getLogger("reid_dhm"), logging.StreamHandler()
    handler.setFormatter(_Message())
    logger.addHandler(handler)
    try:
        app(sys.argv[1:] if arguments is None else list(arguments), prog_name="reid-dhm")
    except ReidError as error:
        sys.exit(_failure(str(error)))
    except OSError as error:
        # A full disk or a folder without permission is not a bug either.
        where = f"{error.filename}: " if error.filename else ""
        sys.exit(_failure(f"{where}{error.strerror or error}"))
    finally:
        logger.removeHandler(handler)
    sys.exit(0)


def _failure(message: str) -> int:
    print(f"error: {printable(' '.join(message.split()))}", file=sys.stderr)
    return 1


class _Message(logging.Formatter):
    """``warning: …``, in the style of ``error: …``."""

    def format(self, record: logging.LogRecord) -> str:
        """Format with the level's name in lower case."""
        return f"{record.levelname.lower()}: {printable(record.getMessage())}"
