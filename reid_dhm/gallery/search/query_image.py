"""Finds and crops the person in a query image, for every interface; the embedder takes the crop."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reid_dhm.data.images import read_image
from reid_dhm.errors import InputError, UnsupportedError
from reid_dhm.gallery.detect.protocol import Detector
from reid_dhm.gallery.footage.frames import Frame
from reid_dhm.gallery.records import Box
from reid_dhm.gallery.track.crops import cut

if TYPE_CHECKING:
    import supervision as sv

MIN_SIZE = (16, 8)
"""Height and width in pixels below which a crop shows too little of a person."""

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
        detector: finds the person if there is no box; the whole image is taken without either.
        name: what messages call pixels.

    Raises:
        InputError: an unreadable image, an unusable box, no person found, or too few pixels.
        UnsupportedError: a detector that needs a whole video.
    """
    if isinstance(image, Path | str):
        name, image = str(image), read_image(image)
    if box is None and detector is not None:
        box = find_person(image, detector, name)
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


def find_person(image: NDArray[np.uint8], detector: Detector, name: str) -> Box:
    """The box of the most prominent person: the largest area times score.

    Args:
        image: (H, W, 3) uint8 RGB.
        detector: finds people in single images.
        name: what messages call the image.

    Raises:
        InputError: nobody was found.
        UnsupportedError: a detector that needs a whole video.
    """
    found = _detections(image, detector)
    if not len(found):
        raise InputError(
            f"{detector.settings.get('detector')} found no people in {name}: give the box of the "
            "person, or no detector if the image shows only the person"
        )
    area = np.asarray(found.box_area, np.float64)
    scores = 1.0 if found.confidence is None else found.confidence.astype(np.float64)
    return as_box(found.xyxy[int(np.argmax(area * scores))])


def find_people(image: NDArray[np.uint8], detector: Detector) -> list[Box]:
    """The boxes of all people who can be searched for, from left to right.

    Detections are at least half certain, of people of :data:`MIN_SIZE` or more.

    Args:
        image: (H, W, 3) uint8 RGB.
        detector: finds people in single images.

    Raises:
        UnsupportedError: a detector that needs a whole video.
    """
    found = _detections(image, detector)
    width, height = (found.xyxy[:, 2:] - found.xyxy[:, :2]).T
    kept = (height >= MIN_SIZE[0]) & (width >= MIN_SIZE[1])
    if found.confidence is not None:
        kept &= found.confidence >= _CERTAIN
    return sorted(as_box(box) for box in found.xyxy[kept])


def _detections(image: NDArray[np.uint8], detector: Detector) -> sv.Detections:
    check_stateless(detector)
    return detector.detect(Frame(0, 0.0, np.ascontiguousarray(image[:, :, ::-1])))


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
