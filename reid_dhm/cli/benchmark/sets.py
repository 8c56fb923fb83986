"""Options that ``benchmark rank`` and ``benchmark rerank`` share: embeddings, sizes and rounds."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from reid_dhm.cli.options import DeviceOption, refuse
from reid_dhm.errors import NotFoundError

SIZES = "Synthetic embeddings"


@dataclass(frozen=True)
class RetrievalBenchmark:
    """What is measured, and how often."""

    queries: Annotated[
        int | None,
        typer.Option("--queries", min=1, max=10**8, rich_help_panel=SIZES, show_default="3368"),
    ] = None
    gallery: Annotated[
        int | None,
        typer.Option("--gallery", min=1, max=10**8, rich_help_panel=SIZES, show_default="15913"),
    ] = None
    dim: Annotated[
        int | None,
        typer.Option("--dim", min=1, max=10**5, rich_help_panel=SIZES, show_default="512"),
    ] = None
    embeddings: Annotated[
        Path | None,
        typer.Option(
            "--embeddings",
            metavar="FILE",
            help="Real embeddings instead: an .npz that reid-dhm eval --save-embeddings wrote.",
        ),
    ] = None
    torchreid: Annotated[bool, typer.Option(help="Measure torchreid as well.")] = True
    device: DeviceOption = "auto"
    rounds: Annotated[
        int, typer.Option(min=1, max=10**6, help="Repetitions; the fastest counts.")
    ] = 3

    def check(self) -> None:
        """Refuse options that exclude each other, and a missing file, before anything is loaded."""
        if self.embeddings is None:
            return
        sizes = {"--queries": self.queries, "--gallery": self.gallery, "--dim": self.dim}
        refuse("with --embeddings: leave out one of them", sizes)
        if not self.embeddings.is_file():
            raise NotFoundError(f"{self.embeddings}: no such file: give the path of an .npz")

    def file(self) -> AbstractContextManager[Path]:
        """The file given, or a temporary one of synthetic embeddings."""
        if self.embeddings is not None:
            return nullcontext(self.embeddings)
        from reid_dhm.benchmarks.harness import synthetic_file

        return synthetic_file(self.queries or 3368, self.gallery or 15913, self.dim or 512)

    def options(self) -> dict[str, Any]:
        """Options of the functions that measure."""
        return {
            "device": self.device,
            "rounds": self.rounds,
            "with_torchreid": self.torchreid,
        }


def gibibytes(count: int | None) -> str:
    """Bytes as ``1.23 GiB``; empty for None."""
    return "" if count is None else f"{count / 2**30:.2f} GiB"
