"""From an image that a user gives to the embedding that is searched for.

What is found for it is :mod:`reid_dhm.gallery.search.search`'s work.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reid_dhm.data.images import read_image
from reid_dhm.errors import InputError
from reid_dhm.gallery.detect.protocol import Detector
from reid_dhm.gallery.footage.frames import Frame
from reid_dhm.gallery.records import Box, Embed
from reid_dhm.gallery.track.crops import cut

SMALLEST = (16, 8)
"""Height and width in pixels below which an image shows nobody who could be known again."""


def embed_query(
    embedder: Embed,
    image: Path | str | NDArray[np.uint8],
    box: Box | None = None,
    detector: Detector | None = None,
    name: str = "the query image",
) -> NDArray[np.float32]:
    """Embed the person in an image.

    Args:
        embedder: of the gallery's model.
        image: a file, or (H, W, 3) uint8 RGB pixels.
        box: where the person is, in pixels of the image; by default whom ``detector`` finds, or
            the whole image without one.
        detector: finds people in single images.
        name: what to call the image in errors; a file goes by its path.

    Returns:
        (1, D) float32 unit row.

    Raises:
        InputError: the image cannot be read, shows nobody, or the person is too small; a box
            outside of it; or a detector that needs a whole video.
    """
    if isinstance(image, Path | str):
        name, image = str(image), read_image(image)
    if box is None and detector is not None:
        box = find_person(image, detector, name)
    return embedder([cut_person(image, box, name)])


def find_person(image: NDArray[np.uint8], detector: Detector, name: str) -> Box:
    """The box of the most prominent person: the largest area times score.

    Args:
        image: (H, W, 3) uint8 RGB.
        detector: finds people in single images.
        name: what to call the image in errors.

    Raises:
        InputError: nobody, or a detector that needs a whole video.
    """
    kind = detector.settings.get("detector", "this detector")
    if detector.stateful:
        raise InputError(
            f"{kind} finds people by what moves in a video, not in an image: give another "
            "detector, or the box of the person"
        )
    bgr = np.ascontiguousarray(image[:, :, ::-1])
    found = detector.detect(Frame(0, 0.0, bgr))
    if not len(found):
        raise InputError(
            f"{name} shows nobody whom {kind} finds: give the box of the person, or no detector "
            "if the image shows nothing but the person"
        )
    area = np.asarray(found.box_area, np.float64)
    scores = 1.0 if found.confidence is None else found.confidence.astype(np.float64)
    x1, y1, x2, y2 = found.xyxy[int(np.argmax(area * scores))].tolist()
    return x1, y1, x2, y2


def cut_person(
    image: NDArray[np.uint8], box: Box | None, name: str = "the query image"
) -> NDArray[np.uint8]:
    """The part of an image that shows the person, as indexing would have cut it.

    Args:
        image: (H, W, 3).
        box: x1, y1, x2, y2 in pixels, may reach over the edge; None for all of it.
        name: what to call the image in errors.

    Raises:
        InputError: no box, one outside of the image, or too few pixels.
    """
    height, width = image.shape[:2]
    part = image
    if box is not None:
        shown = ",".join(f"{side:g}" for side in box)
        if not (np.isfinite(box).all() and box[0] < box[2] and box[1] < box[3]):
            raise InputError(f"{shown} is no box: give x1,y1,x2,y2 with x1 < x2 and y1 < y2")
        if box[2] <= 0 or box[3] <= 0 or box[0] >= width or box[1] >= height:
            raise InputError(
                f"box {shown} lies outside of {name}, which is {width}x{height} pixels"
            )
        part = cut(image, box)
        name = f"box {shown} of {name}"
    if part.shape[0] < SMALLEST[0] or part.shape[1] < SMALLEST[1]:
        raise InputError(
            f"{name} has {part.shape[1]}x{part.shape[0]} pixels, too few to know anybody by: "
            f"{SMALLEST[1]}x{SMALLEST[0]} is the least"
        )
    return np.ascontiguousarray(part)
