"""Families of detection networks: how each is fed, what it gives, and which one a file is.

The outputs tell the family, the metadata of the file its classes. What neither tells is read from a
card beside the file: ``{"family": "yolo", "person": 3}``.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from reid_dhm.errors import InputError
from reid_dhm.gallery.detect.fitting import Fit
from reid_dhm.gallery.detect.graph import Outputs
from reid_dhm.gallery.detect.heads import RFDETR, RTDETR, SSD, YOLO, YOLOX, Head, Size
from reid_dhm.inference.engines.foreign import PRESETS, InputFormat

_PEOPLE = {"person", "people", "pedestrian", "human"}
_COCO = {0: 0, 1: 0, 80: 0, 91: 1}
"""Number of classes → person's, by COCO's numbering; 0 where the outputs do not say how many."""


@dataclass(frozen=True)
class Family:
    """Networks that are fed alike.

    Attributes:
        title: for messages.
        input: colours and normalisation.
        fit: how a frame is brought to the input's size.
        heads: layouts of outputs, in the order in which they are looked for.
        confidence: lowest score of a box by default.
        certain: score from which a box begins a track by default. Those of YOLOX and SSD were
            chosen by measurement, see docs/models.md.
    """

    title: str
    input: InputFormat
    fit: Fit
    heads: tuple[Head, ...]
    confidence: float
    certain: float = 0.5


_UNIT = InputFormat("rgb", std=(255.0, 255.0, 255.0))

FAMILIES: Mapping[str, Family] = {
    "ssd": Family("SSD", PRESETS["openvino"], "stretch", (SSD,), 0.1),
    "rfdetr": Family("RF-DETR", PRESETS["imagenet"], "stretch", RFDETR, 0.3),
    "rtdetr": Family("RT-DETR", _UNIT, "stretch", RTDETR, 0.3),
    "yolo": Family("YOLO", _UNIT, "centre", YOLO, 0.1),
    "yolox": Family("YOLOX", InputFormat("bgr"), "corner", YOLOX, 0.3, 0.7),
}
"""By name, in the order in which they are looked for: SSD as Open Model Zoo exports it
(Liu et al. 2016, arXiv:1512.02325), RF-DETR (Robinson et al. 2025, arXiv:2511.09554), RT-DETR (Zhao
et al. 2023, arXiv:2304.08069) and D-FINE, YOLOv5 to YOLO26, and YOLOX (Ge et al. 2021,
arXiv:2107.08430)."""


@dataclass(frozen=True)
class Card:
    """What a user says of a detector: its family, and the number of the class of people."""

    family: str | None = None
    person: int | None = None


def read_card(path: Path) -> Card:
    """The card beside a network, ``FILE.json``; an empty one if there is none.

    Raises:
        InputError: it cannot be read, or says other things.
    """
    card = path.with_suffix(".json")
    if not card.is_file():
        return Card()
    try:
        said = json.loads(card.read_text(encoding="utf-8"))
        family, person = said.pop("family", None), said.pop("person", None)
        if said or (family not in FAMILIES and family is not None):
            raise ValueError(next(iter(said), family))
        if person is not None and (not isinstance(person, int) or person < 0):
            raise ValueError(f"person {person}")
        return Card(family, person)
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{card} is not a detector's card ({type(error).__name__}: {str(error)[:60]}): write "
            f'{{"family": "{"|".join(FAMILIES)}", "person": N}}'
        ) from None


def class_names(metadata: Mapping[str, str]) -> list[str]:
    """Names of a network's classes, as Ultralytics and OpenVINO's Model API write them."""
    if "labels" in metadata:
        return metadata["labels"].split()
    try:
        names = ast.literal_eval(metadata.get("names", "[]"))
        names = [names[n] for n in range(len(names))]
    except (ValueError, SyntaxError, TypeError, KeyError, MemoryError, RecursionError):
        return []
    return [str(name) for name in names]


def recognise(
    path: Path, outputs: Outputs, size: Size, named: int, family: str | None
) -> tuple[str, Head]:
    """The family of a network and the layout of its outputs.

    Args:
        path: for messages.
        outputs: for an image of noise in 0 to 255.
        size: height and width of the input.
        named: how many classes have names; 0 without names.
        family: the only one to look for.

    Raises:
        InputError: the outputs are of no family, or not of this one.
    """
    for name in (family,) if family else FAMILIES:
        for head in FAMILIES[name].heads:
            if head.fits(outputs, size, named):
                return name, head
    shapes = ", ".join(f"{name} {array.shape}" for name, array in outputs.items())[:200]
    if family:
        layouts = " or ".join(dict.fromkeys(head.layout for head in FAMILIES[family].heads))
        raise InputError(
            f"{path} is not a {FAMILIES[family].title} detector: for an image of "
            f"{size[0]}x{size[1]} it gives {shapes} instead of {layouts}"
        )
    if all(sum(side > 1 for side in array.shape) <= 1 for array in outputs.values()):
        raise InputError(
            f"{path} gives {shapes}, which holds no boxes: an embedder goes to --checkpoint"
        )
    raise InputError(
        f"{path} gives {shapes} for an image of {size[0]}x{size[1]}, as no known detector does: "
        f"say of which family it is ({', '.join(FAMILIES)}), as FAMILY:FILE or in "
        f'{path.with_suffix(".json").name}, {{"family": …}}'
    )


def person_classes(
    path: Path, card: Card, metadata: Mapping[str, str], names: list[str], num_classes: int
) -> list[int]:
    """The numbers of the classes of people, such as those of people and pedestrians.

    Raises:
        InputError: it cannot be known.
    """
    if card.person is not None:
        return [card.person]
    people = [n for n, name in enumerate(names) if name.strip().lower() in _PEOPLE]
    if people:
        return people
    background = metadata.get("background")
    if not names and background is not None:
        if background in ("0", "1"):  # of two classes, people are the other one
            return [1 - int(background)]
    elif not names and num_classes in _COCO:
        return [_COCO[num_classes]]
    classes = ", ".join(names[:8]) or f"{num_classes or 'several'} without names"
    raise InputError(
        f"{path} does not say which of its classes is people ({classes}): write "
        f'{{"person": N}} into {path.with_suffix(".json").name} beside it'
    )
