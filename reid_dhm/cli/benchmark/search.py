"""``reid-dhm benchmark search``: a growing gallery, searched exactly, approximately, by NumPy."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reid_dhm.cli.options import JsonOption, write_json

if TYPE_CHECKING:
    from reid_dhm.benchmarks.search import Latency, SearchFigures


def search(
    tracklets: Annotated[
        list[int] | None,
        typer.Option(
            min=1000,
            metavar="N",
            help="Size of the gallery; repeat it for one that grows.",
            show_default="10000, 100000 and 1000000",
        ),
    ] = None,
    dim: Annotated[int, typer.Option(min=8, help="Length of an embedding.")] = 512,
    queries: Annotated[int, typer.Option(min=20, help="Searches of each side.")] = 300,
    index: Annotated[
        str | None,
        typer.Option(
            help="FAISS factory string of the approximate side.",
            show_default="an inverted file of 2·√N lists",
        ),
    ] = None,
    scratch: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Where the gallery is written, for a while (3 GB for a million).",
            show_default="the system's temporary folder",
        ),
    ] = None,
    json: JsonOption = None,
) -> None:
    """Search made-up galleries: exactly, approximately, and by brute force in NumPy.

    A million take about 8 GB of memory.

    Example: reid-dhm benchmark search --tracklets 10000 --tracklets 100000
    """
    from reid_dhm.benchmarks.search import compare_search

    sizes = sorted(tracklets or (10_000, 100_000, 1_000_000))
    figures = compare_search(sizes, dim, queries, index, scratch, on_done=_print)
    if json is not None:
        ratios = ("times_faster", "over_numpy")
        rows = [{**asdict(f), **{name: getattr(f, name) for name in ratios}} for f in figures]
        write_json(json, rows)


def _print(figures: SearchFigures) -> None:
    from rich.console import Console
    from rich.table import Table

    title = (
        f"{figures.num_tracklets:,} x {figures.dim}, {figures.threads} threads, "
        f"{figures.num_queries} searches"
    )
    table = Table(title=title, title_justify="left")
    columns = ("milliseconds: p50 / p99", "search", "its index", "one camera of 4", "recall@10")
    for column in (*columns, "bytes each", "build s", "reopen s", "build peak"):
        table.add_column(column, justify="left" if column == columns[0] else "right")
    for side in (figures.exact, figures.approximate, figures.numpy):
        table.add_row(
            side.name,
            *(_milliseconds(latency) for latency in (side.search, side.proposals, side.filtered)),
            f"{side.recall:.3f}",
            f"{side.memory:.0f}",
            "" if side.build is None else f"{side.build:.1f}",
            "" if side.reopen is None else f"{side.reopen:.2f}",
            "" if side.build_peak is None else f"{side.build_peak / 2**30:.2f} GiB",
        )
    console = Console(soft_wrap=True, width=max(130, Console().width))  # figures are not cut
    console.print(table)
    console.print(
        f"approximate search is {figures.times_faster:.1f} times as fast as exact search, and "
        f"NumPy takes {figures.over_numpy:.2f} times as long as exact search; "
        f"the gallery's file has {figures.file_bytes / 2**30:.2f} GiB"
    )


def _milliseconds(latency: Latency | None) -> str:
    return "" if latency is None else f"{latency.p50 * 1e3:.2f} / {latency.p99 * 1e3:.2f}"
