"""Finds and crops the person in a query image, for every interface; the embedder takes the crop."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reid_dhm.data.images import read_image
from reid_dhm.errors import InputError, UnsupportedError
from reid_dhm.gallery.detect.factory import build_detector, local_detector
from reid_dhm.gallery.detect.protocol import Detector
from reid_dhm.gallery.footage.frames import Frame
from reid_dhm.gallery.records import Box
from reid_dhm.gallery.track.crops import cut

MIN_SIZE = (16, 8)
"""Height and width in pixels below which a crop shows too little of a person."""

_WIDEST = 0.75  # width over height up to which an image may show one person and nothing else
_CERTAIN = 0.5  # score of a detection that is offered to search for

QueryImage = Path | str | NDArray[np.uint8]
"""An image file, or (H, W, 3) uint8 RGB pixels."""


@dataclass(frozen=True, eq=False)
class QueryCrop:
    """The person in a query image.

    Attributes:
        pixels: (h, w, 3) uint8 RGB, what is embedded.
        box: where the person is in the image, x1, y1, x2, y2 in pixels; None for all of it.
        name: what messages and reports call the image.
    """

    pixels: NDArray[np.uint8]
    box: Box | None
    name: str


class SeveralPeopleError(InputError):
    """An image shows several people, and it was not said who is meant.

    Attributes:
        boxes: of the people, from left to right.
    """

    def __init__(self, name: str, boxes: Sequence[Box]) -> None:
        self.boxes = tuple(boxes)
        shown = "; ".join(box_text(box) for box in boxes)
        super().__init__(f"{name} shows {len(boxes)} people: give one of these boxes: {shown}")


def crop_query(
    image: QueryImage,
    box: Box | None = None,
    detector: Detector | None = None,
    name: str = "the query image",
) -> QueryCrop:
    """Crop the person out of an image, as indexing crops people out of frames.

    Args:
        image: a file, which messages call by its path, or pixels.
        box: where the person is, in pixels; it may reach over the edge.
        detector: finds the person if there is no box. Without either, the whole of an image is
            taken that is as narrow as a person.
        name: what messages call pixels.

    Raises:
        SeveralPeopleError: the detector found several people.
        InputError: an unreadable image, an unusable box, no person found, too few pixels, or an
            image that is too wide to show one person alone, without box and detector.
        UnsupportedError: a detector that needs a whole video.
    """
    if isinstance(image, Path | str):
        name, image = str(image), read_image(image)
    if box is None and detector is not None:
        box = find_person(image, detector, name)
    if box is None and is_wide(image):
        raise InputError(
            f"{name} is too wide to show one person alone: give the box of the person, or a "
            "detector"
        )
    part, subject = image, name
    if box is not None:
        box = as_box(box)
        shown = ",".join(f"{side:g}" for side in box)
        subject = f"box {shown} of {name}"
        part = _crop(image, box, shown, name)
    if part.shape[0] < MIN_SIZE[0] or part.shape[1] < MIN_SIZE[1]:
        raise InputError(
            f"{subject} has {part.shape[1]}x{part.shape[0]} pixels: need at least "
            f"{MIN_SIZE[1]}x{MIN_SIZE[0]}"
        )
    return QueryCrop(np.ascontiguousarray(part), box, name)


def as_box(sides: str | Iterable[Any]) -> Box:
    """The box that a user gives.

    Args:
        sides: four numbers, or a text such as ``40,20,90,170``.

    Raises:
        InputError: anything else, or a box without an area.
    """
    shown = sides[:50] if isinstance(sides, str) else repr(sides)[:80]
    try:
        values = sides.split(",") if isinstance(sides, str) else sides
        x1, y1, x2, y2 = (float(side) for side in values)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"invalid box {shown}: give x1,y1,x2,y2 in pixels") from None
    if not (all(map(math.isfinite, (x1, y1, x2, y2))) and x1 < x2 and y1 < y2):
        raise InputError(f"invalid box {shown}: need x1 < x2 and y1 < y2")
    return x1, y1, x2, y2


def is_wide(image: NDArray[np.uint8]) -> bool:
    """Whether an image is too wide to show one person and nothing else; never of a tiny one."""
    height, width = image.shape[:2]
    return height >= MIN_SIZE[0] and width >= MIN_SIZE[1] and width > _WIDEST * height


def default_finder(image: NDArray[np.uint8]) -> Detector | None:
    """For a wide image the first detector of the model zoo that is on this machine, if any."""
    name = local_detector() if is_wide(image) else None
    return None if name is None else build_detector(name)


def box_text(box: Box) -> str:
    """A box in whole pixels, as ``--box`` takes it."""
    return ",".join(f"{side:.0f}" for side in box)


def find_person(image: NDArray[np.uint8], detector: Detector, name: str) -> Box:
    """The box of the only person.

    Args:
        image: (H, W, 3) uint8 RGB.
        detector: finds people in single images.
        name: what messages call the image.

    Raises:
        SeveralPeopleError: several people were found.
        InputError: nobody was found.
        UnsupportedError: a detector that needs a whole video.
    """
    found = find_people(image, detector)
    if not found:
        raise InputError(
            f"{detector.settings.get('detector')} found no people in {name}: give the box of the "
            "person, or no detector if the image shows only the person"
        )
    if len(found) > 1:
        raise SeveralPeopleError(name, found)
    return found[0]


def find_people(image: NDArray[np.uint8], detector: Detector) -> list[Box]:
    """The boxes of all people who can be searched for, from left to right.

    Detections are at least half certain, of people of :data:`MIN_SIZE` or more.

    Args:
        image: (H, W, 3) uint8 RGB.
        detector: finds people in single images.

    Raises:
        UnsupportedError: a detector that needs a whole video.
    """
    check_stateless(detector)
    found = detector.detect(Frame(0, 0.0, np.ascontiguousarray(image[:, :, ::-1])))
    width, height = (found.xyxy[:, 2:] - found.xyxy[:, :2]).T
    kept = (height >= MIN_SIZE[0]) & (width >= MIN_SIZE[1])
    if found.confidence is not None:
        kept &= found.confidence >= _CERTAIN
    return sorted(as_box(box) for box in found.xyxy[kept])


def check_stateless(detector: Detector) -> None:
    """Refuse a detector that cannot look at a single image.

    Raises:
        UnsupportedError: it needs a whole video.
    """
    if detector.stateful:
        raise UnsupportedError(
            f"detector {detector.settings.get('detector')} needs a video and the query is an "
            "image: use a name of `reid-dhm models`, an .onnx or .xml file, FAMILY:FILE "
            "or torchvision:NAME[:WEIGHTS], or give the box of the person"
        )


def _crop(image: NDArray[np.uint8], box: Box, shown: str, name: str) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    if box[2] <= 0 or box[3] <= 0 or box[0] >= width or box[1] >= height:
        raise InputError(f"box {shown} is outside {name}, which has {width}x{height} pixels")
    return cut(image, box)
