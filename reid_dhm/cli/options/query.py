"""Options for query images and the gallery's model, and what they mean."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reid_dhm.errors import InputError

if TYPE_CHECKING:
    from reid_dhm.gallery.records import Box
    from reid_dhm.gallery.store.reader import GalleryReader
    from reid_dhm.inference.checkpoint_file import CheckpointFile
    from reid_dhm.inference.embedder import Embedder

WHO = "Query"

QueryOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--query",
        metavar="IMAGE",
        rich_help_panel=WHO,
        help="An image of the person; repeatable for several images of the same person.",
    ),
]
BoxOption = Annotated[
    list[str] | None,
    typer.Option(
        "--box",
        metavar="x1,y1,x2,y2",
        rich_help_panel=WHO,
        help="Box of the person in the image, in pixels; one for each --query, or none.",
    ),
]
DetectorOption = Annotated[
    str | None,
    typer.Option(
        "--detector",
        rich_help_panel=WHO,
        help="Finds people in images without a box: a name of `reid-dhm models`, an .onnx or "
        ".xml file, FAMILY:FILE or torchvision:NAME[:WEIGHTS].",
    ),
]
CheckpointOption = Annotated[
    Path | None,
    typer.Option(
        "--checkpoint",
        help="The model that the gallery was indexed with.",
        show_default="the package's own",
    ),
]
IndexOption = Annotated[
    str,
    typer.Option("--index", help="Flat is exact; a FAISS factory string for millions."),
]


def parse_boxes(boxes: Sequence[str] | None, num_queries: int) -> list[Box | None]:
    """A box for each query image, or none for any.

    Raises:
        typer.BadParameter: another number of boxes than images, or text that is not a box.
    """
    if not boxes:
        return [None] * num_queries
    if len(boxes) != num_queries:
        raise typer.BadParameter(
            f"{len(boxes)} boxes for {num_queries} images: give one --box for each --query, in the "
            "same order"
        )
    from reid_dhm.gallery.search.query_image import as_box

    try:
        return [as_box(text) for text in boxes]
    except InputError as error:
        raise typer.BadParameter(str(error)) from None


def find_model(checkpoint: Path | None, **others: Any) -> CheckpointFile:
    """The checkpoint that the user gives, or the package's own, without loading it.

    Args:
        checkpoint: as the user gives it.
        others: ``backbone``, ``size``, ``neck`` and ``input`` of a checkpoint without a card.

    Raises:
        InputError: an unusable checkpoint.
    """
    from reid_dhm.inference.checkpoint_file import find_checkpoint
    from reid_dhm.inference.default import DEFAULT_CHECKPOINT

    return find_checkpoint(checkpoint or DEFAULT_CHECKPOINT, **others)


def open_embedder(store: GalleryReader, checkpoint: CheckpointFile, device: str) -> Embedder:
    """The gallery's model.

    Args:
        store: the gallery.
        checkpoint: of :func:`find_model`.
        device: where it runs.

    Raises:
        InputError: an unusable checkpoint.
        ModelMismatchError: another model than the gallery's.
    """
    from reid_dhm.inference.embedder import Embedder

    # As footage was embedded: 16 bits would change the embeddings compared with it.
    embedder = Embedder(checkpoint, device=device, precision="float32")
    store.check_model(embedder.fingerprint, embedder.dim)
    return embedder
