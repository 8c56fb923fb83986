"""Bringing a frame to the size of a network's input, and boxes back."""

from __future__ import annotations

from typing import Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from reid_dhm.inference.engines.foreign import InputFormat

Fit = Literal["corner", "centre", "stretch"]
"""Scaled with its proportions, grey below and to the right, or grey all around; or stretched."""

_GREY = 114  # the padding that YOLO networks are trained with


class Placement(NamedTuple):
    """Where a frame lies in a network's input: frame pixels · scale + offset = input pixels.

    Attributes:
        size: (width, height) of the frame in the input.
        scale: horizontal and vertical.
        offset: of the left and the upper edge.
    """

    size: tuple[int, int]
    scale: tuple[float, float]
    offset: tuple[int, int]

    def to_frame(self, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, 4) x1, y1, x2, y2 in the input's pixels to the frame's."""
        scale, offset = np.array(self.scale * 2, np.float32), np.array(self.offset * 2, np.float32)
        return np.asarray((boxes - offset) / scale, np.float32)


def place(frame: tuple[int, int], size: tuple[int, int], fit: Fit) -> Placement:
    """Where a frame of (height, width) goes in an input of (height, width)."""
    (height, width), (rows, columns) = frame, size
    if fit == "stretch":
        return Placement((columns, rows), (columns / width, rows / height), (0, 0))
    scale = min(rows / height, columns / width)
    inner = max(1, round(width * scale)), max(1, round(height * scale))
    left = top = 0
    if fit == "centre":  # of an odd number of grey lines, the larger part lies below and right
        left, top = (columns - inner[0]) // 2, (rows - inner[1]) // 2
    return Placement(inner, (scale, scale), (left, top))


def to_input(
    image: NDArray[np.uint8], size: tuple[int, int], placement: Placement, format: InputFormat
) -> NDArray[np.float32]:
    """(H, W, 3) BGR frame to the (1, 3, *size) float32 input of a network."""
    (left, top), (width, height) = placement.offset, placement.size
    padded = np.full((*size, 3), _GREY, np.uint8)
    padded[top : top + height, left : left + width] = cv2.resize(
        image, (width, height), interpolation=cv2.INTER_LINEAR
    )
    planes = padded.transpose(2, 0, 1)
    if format.channels == "rgb":
        planes = planes[::-1]
    numbers = np.ascontiguousarray(planes[None], np.float32)
    mean, std = (
        np.array(values, np.float32)[:, None, None] for values in (format.mean, format.std)
    )
    if mean.any():
        numbers -= mean
    if (std != 1).any():
        numbers /= std
    return numbers
