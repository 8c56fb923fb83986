"""What ``benchmark rank`` and ``benchmark rerank`` are measured on, and how figures are printed."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated

import typer

SIZES = "Made-up embeddings"

QueriesOption = Annotated[
    int | None,
    typer.Option("--queries", min=1, rich_help_panel=SIZES, show_default="3368"),
]
GalleryOption = Annotated[
    int | None,
    typer.Option("--gallery", min=1, rich_help_panel=SIZES, show_default="15913"),
]
DimOption = Annotated[
    int | None,
    typer.Option("--dim", min=1, rich_help_panel=SIZES, show_default="512"),
]
EmbeddingsOption = Annotated[
    Path | None,
    typer.Option(
        "--embeddings",
        metavar="FILE",
        help="Real ones instead: an .npz as reid-dhm eval --save-embeddings writes it.",
    ),
]
TorchreidOption = Annotated[bool, typer.Option(help="Measure the peer too.")]
RoundsOption = Annotated[int, typer.Option(min=1, help="Turns of our sides; the best count.")]


def embeddings_file(
    given: Path | None, queries: int | None, gallery: int | None, dim: int | None
) -> AbstractContextManager[Path]:
    """The file given, or made-up embeddings of the sizes given."""
    sizes = {"--queries": queries, "--gallery": gallery, "--dim": dim}
    if given is None:
        from reid_dhm.benchmarks.harness import made_up_file

        return made_up_file(queries or 3368, gallery or 15913, dim or 512)
    for option, size in sizes.items():
        if size is not None:
            raise typer.BadParameter(f"{option} has no meaning beside --embeddings: drop one")
    return nullcontext(given)


def gibibytes(count: int | None) -> str:
    """A peak for people."""
    return "" if count is None else f"{count / 2**30:.2f} GiB"
