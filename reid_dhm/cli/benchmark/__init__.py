"""``reid-dhm benchmark``: our figure, the peer's, and the ratio, measured in one run."""

from __future__ import annotations

import typer

from reid_dhm.cli.benchmark.detectors import detectors
from reid_dhm.cli.benchmark.embed import embed, memory, precision
from reid_dhm.cli.benchmark.footage import footage_pairs
from reid_dhm.cli.benchmark.people import people
from reid_dhm.cli.benchmark.queue import queue
from reid_dhm.cli.benchmark.rank import rank
from reid_dhm.cli.benchmark.rerank import rerank
from reid_dhm.cli.benchmark.search import search
from reid_dhm.cli.benchmark.tracking import tracking
from reid_dhm.cli.benchmark.train import train
from reid_dhm.extras import require

benchmark = typer.Typer(
    help="Our figure, the peer's, and the ratio, measured in one run.", no_args_is_help=True
)


@benchmark.callback()
def _check_extra() -> None:
    require("benchmark", "reid-dhm benchmark", "psutil")


benchmark.command("detectors")(detectors)
benchmark.command("embed")(embed)
benchmark.command("footage-pairs")(footage_pairs)
benchmark.command("memory")(memory)
benchmark.command("people")(people)
benchmark.command("precision")(precision)
benchmark.command("queue")(queue)
benchmark.command("rank")(rank)
benchmark.command("rerank")(rerank)
benchmark.command("search")(search)
benchmark.command("tracking")(tracking)
benchmark.command("train")(train)
