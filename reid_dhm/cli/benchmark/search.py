"""``reid-dhm benchmark search``: exact and approximate gallery search compared with NumPy."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reid_dhm.cli.options import JsonOption, write_json

if TYPE_CHECKING:
    from reid_dhm.benchmarks.retrieval.search import Latency, SearchFigures


def search(
    tracklets: Annotated[
        list[int] | None,
        typer.Option(
            min=1000,
            metavar="N",
            help="Number of tracklets; repeatable, for a growing gallery.",
            show_default="10000, 100000 and 1000000",
        ),
    ] = None,
    dim: Annotated[int, typer.Option(min=8, help="Length of an embedding.")] = 512,
    queries: Annotated[int, typer.Option(min=20, help="Searches by each method.")] = 300,
    index: Annotated[
        str | None,
        typer.Option(
            help="FAISS factory string of approximate search.",
            show_default="an inverted file of 2·√N lists",
        ),
    ] = None,
    scratch: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder for the temporary gallery (3 GB for a million tracklets).",
            show_default="the system's temporary folder",
        ),
    ] = None,
    json: JsonOption = None,
) -> None:
    """Compare exact and approximate search of synthetic galleries with brute force in NumPy.

    A million tracklets take about 8 GB of memory.

    Example: reid-dhm benchmark search --tracklets 10000 --tracklets 100000
    """
    from reid_dhm.benchmarks.retrieval.search import compare_search

    sizes = sorted(tracklets or (10_000, 100_000, 1_000_000))
    figures = compare_search(sizes, dim, queries, index, scratch, on_done=_print)
    if json is not None:
        ratios = ("times_faster", "over_numpy")
        rows = [{**asdict(f), **{name: getattr(f, name) for name in ratios}} for f in figures]
        write_json(json, rows)


def _print(figures: SearchFigures) -> None:
    from reid_dhm.cli.output.tables import SafeTable, plain_console

    title = (
        f"{figures.num_tracklets:,} x {figures.dim}, {figures.threads} threads, "
        f"{figures.num_queries} searches"
    )
    table = SafeTable(title=title, title_justify="left")
    columns = ("milliseconds: p50 / p99", "search", "its index", "one camera of 4", "recall@10")
    for column in (*columns, "bytes each", "build s", "reopen s", "build peak"):
        table.add_column(column, justify="left" if column == columns[0] else "right")
    for method in (figures.exact, figures.approximate, figures.numpy):
        table.add_row(
            method.name,
            *(
                _milliseconds(latency)
                for latency in (method.search, method.proposals, method.filtered)
            ),
            f"{method.recall:.3f}",
            f"{method.memory:.0f}",
            "" if method.build is None else f"{method.build:.1f}",
            "" if method.reopen is None else f"{method.reopen:.2f}",
            "" if method.build_peak is None else f"{method.build_peak / 2**30:.2f} GiB",
        )
    console = plain_console(
        soft_wrap=True, width=max(130, plain_console().width)
    )  # wide enough for every column
    console.print(table)
    console.print(
        f"exact search {figures.exact.search.p50 * 1e3:.2f} ms, NumPy "
        f"{figures.numpy.search.p50 * 1e3:.2f} ms, ratio {figures.over_numpy:.2f}; "
        f"approximate search is {figures.times_faster:.1f} times as fast as exact search; "
        f"the gallery file has {figures.file_bytes / 2**30:.2f} GiB"
    )


def _milliseconds(latency: Latency | None) -> str:
    return "" if latency is None else f"{latency.p50 * 1e3:.2f} / {latency.p99 * 1e3:.2f}"
