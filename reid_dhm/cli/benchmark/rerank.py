"""``reid-dhm benchmark rerank``: time of re-ranking and expansion against others."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from reid_dhm.cli.benchmark.sets import RetrievalBenchmark, gibibytes
from reid_dhm.cli.options import JsonOption, write_json
from reid_dhm.cli.options.groups import grouped

if TYPE_CHECKING:
    from reid_dhm.benchmarks.retrieval.rerank import RerankingFigures

_RATIOS = (
    "over_product",
    "over_half_product",
    "times_faster",
    "expand_over_search",
    "augment_over_search",
)


@grouped
def rerank(benchmark: RetrievalBenchmark, json: JsonOption = None) -> None:
    """Time k-reciprocal re-ranking against torchreid and against the bare symmetric product.

    Query expansion and database augmentation are timed against the bare FAISS search. torchreid
    takes minutes and, for Market-1501's size, 9 GB of memory.

    Example: reid-dhm benchmark rerank --no-torchreid
    """
    benchmark.check()
    from reid_dhm.benchmarks.retrieval.rerank import compare_reranking

    with benchmark.file() as path:
        figures = compare_reranking(path, **benchmark.options())
    _print(figures)
    if json is not None:
        ratios = {name: getattr(figures, name) for name in _RATIOS}
        write_json(json, {**asdict(figures), **ratios})


def _print(figures: RerankingFigures) -> None:
    from reid_dhm.cli.output.tables import SafeTable, plain_console

    sizes = f"{figures.num_query} + {figures.num_gallery}, {figures.dim} dimensions"
    table = SafeTable(title=f"{sizes}, {figures.threads} threads", title_justify="left")
    table.add_column("re-ranking")
    for column in ("seconds", "x product", "x half", "peak memory"):
        table.add_column(column, justify="right")
    rows = {
        "bare product X·Xᵀ": (figures.product, None),
        "half of it (symmetry)": (figures.half_product, None),
        "ours": (figures.ours, figures.ours_peak),
        "torchreid": (figures.torchreid, figures.torchreid_peak),
    }
    for name, (taken, above) in rows.items():
        if taken is not None:
            ratios = taken / figures.product, taken / figures.half_product
            table.add_row(name, f"{taken:.2f}", *(f"{r:.2f}" for r in ratios), gibibytes(above))
    console = plain_console(soft_wrap=True)
    console.print(table)
    if figures.torchreid is not None:
        console.print(
            f"torchreid takes {figures.times_faster:.1f} times as long; final distances differ by "
            f"{figures.largest_difference:.1e} at most, by more than 1e-5 in "
            f"{figures.distances_differ} of {figures.num_query * figures.num_gallery} pairs; the "
            f"ten nearest differ in {figures.lists_differ} of {figures.num_query} queries"
        )
    for name, taken, search in (
        ("query expansion", figures.expand, figures.search),
        ("database augmentation", figures.augment, figures.gallery_search),
    ):
        ratio = taken / search
        console.print(
            f"{name} {taken:.2f} s, {ratio:.2f} x the bare FAISS search of {search:.2f} s"
        )
