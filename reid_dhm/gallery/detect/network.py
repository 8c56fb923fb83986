"""Detects people by a network in a file, of any family of :mod:`.families`."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import supervision as sv

from reid_dhm.errors import InputError, first_line
from reid_dhm.gallery.detect.families import (
    FAMILIES,
    class_names,
    person_classes,
    read_card,
    recognise,
)
from reid_dhm.gallery.detect.fitting import place, to_input
from reid_dhm.gallery.detect.graph import Graph, Outputs, Port, open_network
from reid_dhm.gallery.detect.heads import Candidates, Size
from reid_dhm.gallery.detect.protocol import Settings, to_detections
from reid_dhm.gallery.footage.frames import Frame
from reid_dhm.gallery.footage.hashing import content_hash
from reid_dhm.inference.engines.exported import graph_files

_OPEN_SIZE = 640  # where the file leaves the size open


class NetworkDetector:
    """A detection network; see :class:`.Detector`.

    Args:
        path: an ``.onnx`` file, or an ``.xml`` with its ``.bin``: one image in (1, 3, H, W), with
            an input for its size or without; float32, float16 or, where pixels stay as they are,
            uint8. A side that the file leaves open is 640.
        family: one of :data:`.FAMILIES`; by default the outputs tell it.
        confidence: lowest score; the family's by default.

    Attributes:
        family: which one it is.
        engine: what runs it.
        certain: score from which a box begins a track by default.

    Raises:
        InputError: not a detector, or one of which too little is known.
    """

    stateful = False

    def __init__(
        self, path: Path, family: str | None = None, confidence: float | None = None
    ) -> None:
        card = read_card(path)
        self._path = path
        self._graph = open_network(path, threads=os.cpu_count() or 1)
        self._image, self._second = _ports(path, self._graph)
        self._size = _input_size(path, self._image)
        self._names = class_names(self._graph.metadata)
        outputs = self._trial()
        named = len(self._names)
        self.family, self._head = recognise(path, outputs, self._size, named, family or card.family)
        self._family = FAMILIES[self.family]
        if self._image.dtype.kind != "f" and self._family.input.std != (1.0, 1.0, 1.0):
            raise InputError(
                f"{path} takes {self._image.dtype} images, and {self._family.title} is fed with "
                "normalised ones: export it with an input of float32"
            )
        found = self._read(outputs)
        metadata = self._graph.metadata
        self._people = person_classes(path, card, metadata, self._names, found.num_classes)
        self._by_default = confidence is None
        self._confidence = self._family.confidence if confidence is None else confidence
        self.certain = self._family.certain
        self.engine = self._graph.engine
        settings: dict[str, str | int | float] = {
            "detector": self.family,
            "detector weights": content_hash(graph_files(path)),
            "confidence": self._confidence,
        }
        if self._head.overlap is not None:
            settings["overlap"] = self._head.overlap
        if card.person is not None:
            settings["person class"] = card.person
        self.settings: Settings = settings

    def detect(self, frame: Frame) -> sv.Detections:
        """People in a frame.

        Raises:
            InputError: the network gives scores that are not numbers.
        """
        height, width = frame.image.shape[:2]
        placement = place((height, width), self._size, self._family.fit)
        image = to_input(frame.image, self._size, placement, self._family.input)
        found = self._read(self._graph.run(self._feeds(image)))
        wanted = np.isin(found.classes, self._people) & (found.scores >= self._confidence)
        boxes = placement.to_frame(found.boxes[wanted])
        people = to_detections(boxes, found.scores[wanted], (height, width))
        if self._head.overlap is None:
            return people
        return people.with_nms(self._head.overlap, class_agnostic=True)

    def following(self, earlier: Mapping[str, Any]) -> NetworkDetector:
        """The detector with the lowest score of an earlier run with it, unless one was given."""
        same = ("detector", "detector weights", "overlap", "person class")
        known = all(earlier.get(name) == self.settings.get(name) for name in same)
        if not self._by_default or not known or "confidence" not in earlier:
            return self
        other = copy.copy(self)
        other._confidence = float(earlier["confidence"])
        other.settings = {**self.settings, "confidence": other._confidence}
        return other

    def _read(self, outputs: Outputs) -> Candidates:
        found = self._head.read(outputs, self._size, len(self._names))
        if np.isnan(found.scores).any():
            raise InputError(
                f"{self._path} gives scores that are not numbers (NaN): export the model again, in "
                "float32"
            )
        return found

    def _feeds(self, image: np.ndarray) -> list[np.ndarray]:
        feeds = [image.astype(self._image.dtype, copy=False)]
        if self._second is not None:  # boxes come in the pixels of this size
            feeds.append(np.array([self._size[::-1]], self._second.dtype))
        order = [port.name for port in self._graph.inputs]
        return feeds if order[0] == self._image.name else feeds[::-1]

    def _trial(self) -> Outputs:
        """The outputs for an image of noise."""
        noise = np.random.default_rng(0).integers(0, 256, (1, 3, *self._size))
        try:
            return self._graph.run(self._feeds(noise.astype(np.float32)))
        except Exception as error:  # OpenVINO and onnxruntime each have errors of their own
            raise InputError(
                f"{self._path} does not take an image of {self._size[0]}x{self._size[1]} "
                f"({first_line(error)[:120]}): export it for one image of a fixed size"
            ) from error


def _ports(path: Path, graph: Graph) -> tuple[Port, Port | None]:
    """The input of the image, and that of its size if there is one."""
    images = [port for port in graph.inputs if len(port.shape) == 4]
    others = [port for port in graph.inputs if len(port.shape) != 4]
    if len(images) != 1 or any(len(port.shape) != 2 or port.shape[1] != 2 for port in others[:1]):
        images = []
    if not images or len(others) > 1:
        shapes = ", ".join(f"{port.name} {port.shape}" for port in graph.inputs)
        raise InputError(
            f"{path} has the inputs {shapes}: a detector takes one image (1, 3, height, width), "
            "and at most the image's size (1, 2) beside it"
        )
    return images[0], others[0] if others else None


def _input_size(path: Path, port: Port) -> Size:
    batch, channels, height, width = port.shape
    if channels not in (None, 3):
        raise InputError(
            f"{path} takes images of {port.shape}: a detector takes (1, 3, height, width)"
        )
    if batch not in (None, 1):
        raise InputError(f"{path} takes {batch} images at once: export it for a batch of one")
    return height or _OPEN_SIZE, width or _OPEN_SIZE
