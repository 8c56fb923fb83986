"""Cutting the person out of query images: by box, by detector, or by asking which of several."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from reid_dhm.cli.output import count_of, say
from reid_dhm.errors import InputError, NotFoundError

if TYPE_CHECKING:
    from reid_dhm.gallery.detect.protocol import Detector
    from reid_dhm.gallery.records import Box
    from reid_dhm.gallery.search.query_image import QueryCrop

_WIDEST = 0.75  # width over height up to which an image may show one person and nothing else


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
    from reid_dhm.gallery.search.query_image import (
        MIN_SIZE,
        check_stateless,
        crop_query,
        find_people,
    )

    if box is not None:
        return crop_query(query, box)
    image = read_image(query)
    height, width = image.shape[:2]
    too_small = height < MIN_SIZE[0] or width < MIN_SIZE[1]
    if detector is None and (too_small or width <= _WIDEST * height):
        return crop_query(query)
    finder = _detector(query, detector)
    check_stateless(finder)
    found = find_people(image, finder)
    if detector is not None and not found:
        crop_query(image, None, finder, str(query))  # raises, and says why
    if not found:
        raise InputError(f"no people found in {query}: give --box, or another --detector")
    box = found[0] if len(found) == 1 else found[_choice(query, found)]
    say(f"{query}: --box {_text(box)}", err=True)
    return crop_query(query, box)


def _detector(query: Path, name: str | None) -> Detector:
    """The detector of a name, or the first one of the model zoo that is on this machine."""
    from reid_dhm.gallery.detect.factory import build_detector
    from reid_dhm.inference.zoo import registry
    from reid_dhm.inference.zoo.entries import DETECTION, MODELS

    if name is None:
        here = [model.name for model in registry.added() if model.task == DETECTION]
        here += [m.name for m in MODELS if m.task == DETECTION and registry.is_here(m)]
        if not here:
            raise typer.BadParameter(
                f"{query} is too wide to show one person alone: give the person's --box "
                "x1,y1,x2,y2, or a --detector to find people (reid-dhm models pull yolox-nano)"
            )
        name = here[0]
    return build_detector(name)


def _choice(query: Path, found: Sequence[Box]) -> int:
    """Which of several people is meant, asked on the terminal."""
    lines = [f"  {number}. --box {_text(box)}" for number, box in enumerate(found, 1)]
    head = f"{count_of(len(found), 'person', 'people')} in {query}, from left to right:"
    if not sys.stdin.isatty():
        say("\n".join([head, *lines]), err=True)
        raise typer.BadParameter(f"{query} shows several people: give one of these boxes")
    say("\n".join([head, *lines]), err=True)
    while not 1 <= (number := typer.prompt("Which one?", type=int, err=True)) <= len(found):
        say(f"give a number from 1 to {len(found)}", err=True)
    return int(number) - 1


def _text(box: Box) -> str:
    return ",".join(f"{side:.0f}" for side in box)
