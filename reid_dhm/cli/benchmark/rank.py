"""``reid-dhm benchmark rank``: time of CMC, mAP and mINP against torchreid."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from reid_dhm.cli.benchmark.sets import RetrievalBenchmark, gibibytes
from reid_dhm.cli.options import JsonOption, write_json
from reid_dhm.cli.options.groups import grouped

if TYPE_CHECKING:
    from reid_dhm.benchmarks.retrieval.rank import RankingFigures


@grouped
def rank(benchmark: RetrievalBenchmark, json: JsonOption = None) -> None:
    """Time CMC, mAP and mINP against torchreid and against the bare matrix product.

    Example: reid-dhm benchmark rank

    Example: reid-dhm benchmark rank --gallery 515913 --no-torchreid
    """
    benchmark.check()
    from reid_dhm.benchmarks.retrieval.rank import compare_ranking

    with benchmark.file() as path:
        figures = compare_ranking(path, **benchmark.options())
    _print(figures)
    if json is not None:
        ratios = ("ranking", "over_product", "times_faster")
        write_json(json, {**asdict(figures), **{name: getattr(figures, name) for name in ratios}})


def _print(figures: RankingFigures) -> None:
    from reid_dhm.cli.output.tables import SafeTable, plain_console

    sizes = f"{figures.num_query} x {figures.num_gallery} x {figures.dim}"
    table = SafeTable(title=f"{sizes}, {figures.threads} threads", title_justify="left")
    for column in ("CMC, mAP, mINP", "seconds", "x product", "peak memory", "mAP"):
        table.add_column(column, justify="left" if column == "CMC, mAP, mINP" else "right")
    table.add_row("bare matrix product", f"{figures.product:.2f}", "1.00", "", "")
    table.add_row(
        "ours",
        f"{figures.ours:.2f}",
        f"{figures.over_product:.2f}",
        gibibytes(figures.ours_peak),
        f"{figures.mean_ap:.6f}",
    )
    if figures.torchreid is not None:
        table.add_row(
            "torchreid",
            f"{figures.torchreid:.2f}",
            f"{figures.torchreid / figures.product:.2f}",
            gibibytes(figures.torchreid_peak),
            f"{figures.torchreid_mean_ap:.6f}",
        )
    console = plain_console(soft_wrap=True)
    console.print(table)
    console.print(
        f"ours without the product {figures.ranking:.2f} s; FAISS index and lists, not counted, "
        f"{figures.search:.2f} s"
    )
    if figures.torchreid is not None:
        console.print(
            f"torchreid takes {figures.times_faster:.1f} times as long, "
            f"{figures.torchreid_distances:.2f} s of it for its distances"
        )
