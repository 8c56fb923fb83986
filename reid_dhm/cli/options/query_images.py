"""Cutting the person out of query images: by box, by detector, or by asking which of several."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from reid_dhm.cli.output import count_of, say
from reid_dhm.errors import NotFoundError

if TYPE_CHECKING:
    from reid_dhm.gallery.records import Box
    from reid_dhm.gallery.search.query_image import QueryCrop


def crop_queries(
    queries: Sequence[Path], boxes: Sequence[Box | None], detector: str | None = None
) -> list[QueryCrop]:
    """Crop the person out of each query image.

    An image without a box is used whole if it is as narrow as a person; in others people are
    detected, by the detector given or by one that is on this machine. Of several people the user
    chooses on the terminal.

    Raises:
        InputError: an image that cannot be read or shows nobody, or an unknown detector.
        typer.BadParameter: several people and no terminal, or no detector; the message lists the
            boxes.
    """
    for query in queries:
        if not query.is_file():
            raise NotFoundError(f"--query {query} does not exist: give an image file")
    return [_crop(query, box, detector) for query, box in zip(queries, boxes, strict=True)]


def _crop(query: Path, box: Box | None, detector: str | None) -> QueryCrop:
    from reid_dhm.data.images import read_image
    from reid_dhm.gallery.detect.factory import build_detector
    from reid_dhm.gallery.search.query_image import (
        SeveralPeopleError,
        box_text,
        crop_query,
        default_finder,
        is_wide,
    )

    if box is not None:
        return crop_query(query, box)
    image = read_image(query)
    finder = build_detector(detector) if detector is not None else default_finder(image)
    if finder is None and is_wide(image):
        raise typer.BadParameter(
            f"{query} is too wide to show one person alone: give the person's --box "
            "x1,y1,x2,y2, or a --detector to find people (reid-dhm models pull yolox-nano)"
        )
    try:
        crop = crop_query(image, None, finder, str(query))
    except SeveralPeopleError as error:
        crop = crop_query(image, error.boxes[_choice(query, error.boxes)], name=str(query))
    if crop.box is not None:
        say(f"{query}: --box {box_text(crop.box)}", err=True)
    return crop


def _choice(query: Path, found: Sequence[Box]) -> int:
    """Which of several people is meant, asked on the terminal."""
    from reid_dhm.gallery.search.query_image import box_text

    lines = [f"  {number}. --box {box_text(box)}" for number, box in enumerate(found, 1)]
    head = f"{count_of(len(found), 'person', 'people')} in {query}, from left to right:"
    if not sys.stdin.isatty():
        say("\n".join([head, *lines]), err=True)
        raise typer.BadParameter(f"{query} shows several people: give one of these boxes")
    say("\n".join([head, *lines]), err=True)
    while not 1 <= (number := typer.prompt("Which one?", type=int, err=True)) <= len(found):
        say(f"give a number from 1 to {len(found)}", err=True)
    return int(number) - 1
