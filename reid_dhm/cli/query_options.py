"""Options that say who is searched for, and what becomes of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from reid_dhm.gallery.records import Box
    from reid_dhm.gallery.store.gallery import GalleryStore
    from reid_dhm.inference.embedder import Embedder

WHO = "Who is searched for"

QueryOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--query",
        metavar="IMAGE",
        rich_help_panel=WHO,
        help="An image of the person; repeat it for several images of the same person.",
    ),
]
BoxOption = Annotated[
    list[str] | None,
    typer.Option(
        "--box",
        metavar="x1,y1,x2,y2",
        rich_help_panel=WHO,
        help="Where the person is in the image, in pixels; one for each --query, or none.",
    ),
]
DetectorOption = Annotated[
    str | None,
    typer.Option(
        "--detector",
        rich_help_panel=WHO,
        help="Finds the person where no box is given: yolox:FILE or torchvision:NAME[:WEIGHTS].",
    ),
]
CheckpointOption = Annotated[
    Path | None,
    typer.Option(
        "--checkpoint",
        help="The model that the gallery was made with.",
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
        typer.BadParameter: another number of boxes, or one that is no box.
    """
    if not boxes:
        return [None] * num_queries
    if len(boxes) != num_queries:
        raise typer.BadParameter(
            f"there are {len(boxes)} boxes and {num_queries} images: give one --box for each "
            "--query, in the same order"
        )
    return [_box(text) for text in boxes]


def open_embedder(
    store: GalleryStore, checkpoint: Path | None, device: str, **others: Any
) -> Embedder:
    """The gallery's model.

    Args:
        store: the gallery.
        checkpoint: as the user names it; the package's own without.
        device: where it runs.
        others: ``backbone``, ``size`` and ``neck`` of a checkpoint without a card.

    Raises:
        InputError: an unusable checkpoint, or another model than the gallery's.
    """
    from reid_dhm.inference.checkpoints import open_checkpoint
    from reid_dhm.inference.default import DEFAULT_CHECKPOINT
    from reid_dhm.inference.embedder import Embedder

    opened = open_checkpoint(checkpoint or DEFAULT_CHECKPOINT, **others)
    # As footage was embedded: 16 bits would move what they are compared with.
    embedder = Embedder(opened, device=device, precision="float32")
    store.check_model(embedder.fingerprint, embedder.dim)
    return embedder


def embed_queries(
    embedder: Embedder,
    queries: Sequence[Path],
    boxes: Sequence[Box | None],
    detector: str | None = None,
) -> tuple[list[NDArray[np.uint8]], NDArray[np.float32]]:
    """Cut the person out of each query image, and embed what was cut.

    Returns:
        images: n (H, W, 3) uint8 RGB, what was embedded.
        embeddings: (n, D) float32 unit rows.

    Raises:
        InputError: an image that cannot be read or shows nobody, or an unknown detector.
    """
    from reid_dhm.data.images import read_image
    from reid_dhm.gallery.detect.factory import build_detector
    from reid_dhm.gallery.search.query_image import cut_person, find_person

    finder = None if detector is None else build_detector(detector)
    people = []
    for query, given in zip(queries, boxes, strict=True):
        image, box = read_image(query), given
        if box is None and finder is not None:
            box = find_person(image, finder, str(query))
            shown = ",".join(f"{side:.0f}" for side in box)
            typer.echo(f"{query}: takes the person at --box {shown}", err=True)
        elif box is None and image.shape[1] > image.shape[0]:
            typer.echo(
                f"{query} is wider than high and taken as a whole: if the person is only a part "
                "of it, give --box or --detector",
                err=True,
            )
        people.append(cut_person(image, box, str(query)))
    return people, embedder(people)


def _box(text: str) -> Box:
    try:
        x1, y1, x2, y2 = (float(side) for side in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no box: give x1,y1,x2,y2 in pixels") from None
    return x1, y1, x2, y2
