"""Detects people by YOLOX (Ge et al. 2021, arXiv:2107.08430), from an ONNX file of any size."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import supervision as sv
from numpy.typing import NDArray

from reid_dhm.errors import InputError
from reid_dhm.gallery.detect.onnx_file import open_onnx
from reid_dhm.gallery.detect.protocol import Settings, to_detections
from reid_dhm.gallery.footage.frames import Frame
from reid_dhm.gallery.footage.hashing import content_hash

_STRIDES = (8, 16, 32)
_PERSON = 0  # COCO's first class, and a person detector's only one
_GREY = 114  # the padding that YOLOX is trained with
_DECODED = 0.5  # share of centres near their cells; about 0.1 where boxes are not decoded
_OPEN_SIZE = 640  # where the file leaves the size open


class YoloxDetector:
    """A YOLOX network; see :class:`.Detector`.

    Args:
        path: ONNX file: one image in (BGR, 0 to 255, grey below and to the right), and (1, N, 5 +
            classes) out, N cells on strides 8, 16 and 32: boxes relative to their cells, or decoded
            (centre and size in pixels). Person is the first class.
        confidence: lowest score, objectness times class probability.
        overlap: of two boxes with a larger intersection over union, the one of lower score is
            suppressed.

    Raises:
        InputError: the file is not such a network.
    """

    stateful = False

    def __init__(self, path: Path, confidence: float = 0.1, overlap: float = 0.6) -> None:
        self._network = open_onnx(path, threads=os.cpu_count() or 1)
        self._size = _input_size(path, self._network.input_shape)
        self._confidence, self._overlap = confidence, overlap
        self._cells = _cells(self._size)
        self._decoded = _is_decoded(self._trial(path), self._cells)
        self.engine = self._network.engine
        self.settings: Settings = {
            "detector": "yolox",
            "detector weights": content_hash([path]),
            "confidence": confidence,
            "overlap": overlap,
        }

    def detect(self, frame: Frame) -> sv.Detections:
        """People in a frame."""
        height, width = frame.image.shape[:2]
        scale = min(self._size[0] / height, self._size[1] / width)
        output = self._network.run(letterbox(frame.image, self._size, scale))[0]
        classes = output[:, 5:]
        scores = output[:, 4] * classes[:, _PERSON]
        wanted = (scores >= self._confidence) & (classes.argmax(axis=1) == _PERSON)
        boxes = output[wanted, :4]
        boxes = corners(boxes) if self._decoded else decode_boxes(boxes, self._cells[wanted])
        found = to_detections(boxes / scale, scores[wanted], (height, width))
        return found.with_nms(self._overlap, class_agnostic=True)

    def _trial(self, path: Path) -> NDArray[np.float32]:
        """(N, 5 + classes) output for an image of noise, checked."""
        noise = np.random.default_rng(0).integers(0, 256, (1, 3, *self._size))
        try:
            output = self._network.run(noise.astype(np.float32))
        except Exception as error:  # OpenVINO and onnxruntime each have errors of their own
            raise _not_yolox(path, f"it does not take an image of {self._size}") from error
        shape = output.shape
        if len(shape) != 3 or shape[:2] != (1, len(self._cells)) or shape[2] < 6:
            raise _not_yolox(
                path,
                f"it gives {shape} instead of (1, {len(self._cells)}, 5 + classes) for an image "
                f"of {self._size[0]}x{self._size[1]}",
            )
        return output[0]


def letterbox(image: NDArray[np.uint8], size: tuple[int, int], scale: float) -> NDArray[np.float32]:
    """(H, W, 3) BGR to (1, 3, *size) float32 0 to 255: scaled, grey below and to the right."""
    height, width = image.shape[:2]
    inner = max(1, round(width * scale)), max(1, round(height * scale))
    padded = np.full((*size, 3), _GREY, np.uint8)
    padded[: inner[1], : inner[0]] = cv2.resize(image, inner, interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(padded.transpose(2, 0, 1)[None], np.float32)


def decode_boxes(raw: NDArray[np.float32], cells: NDArray[np.float32]) -> NDArray[np.float32]:
    """Boxes in the network's pixels from its raw outputs.

    Args:
        raw: (N, 4): centre relative to its cell, in strides; logarithm of the size, in strides.
        cells: (N, 3): column, row and stride of each cell.

    Returns:
        (N, 4) x1, y1, x2, y2.
    """
    stride = cells[:, 2:]
    centre = (raw[:, :2] + cells[:, :2]) * stride
    return corners(np.concatenate([centre, np.exp(np.minimum(raw[:, 2:], 20)) * stride], axis=1))


def corners(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, 4) centre, width and height to (N, 4) x1, y1, x2, y2."""
    half = boxes[:, 2:] / 2
    return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)


def _is_decoded(output: NDArray[np.float32], cells: NDArray[np.float32]) -> bool:
    """Whether boxes are in pixels: most centres lie near their cells, and not near the origin."""
    stride = cells[:, 2:]
    away = np.abs(output[:, :2] - (cells[:, :2] + 0.5) * stride).max(axis=1)
    return bool((away <= 2 * stride[:, 0]).mean() > _DECODED)


def _cells(size: tuple[int, int]) -> NDArray[np.float32]:
    """(N, 3) column, row and stride of every cell, in the order of the outputs."""
    levels = []
    for stride in _STRIDES:
        rows, columns = np.mgrid[: size[0] // stride, : size[1] // stride]
        level = np.stack([columns.ravel(), rows.ravel(), np.full(rows.size, stride)], axis=1)
        levels.append(level.astype(np.float32))
    return np.concatenate(levels)


def _input_size(path: Path, shape: tuple[int | None, ...]) -> tuple[int, int]:
    if len(shape) != 4 or shape[0] not in (None, 1) or shape[1] not in (None, 3):
        raise _not_yolox(path, f"its input is {shape} instead of (1, 3, height, width)")
    height, width = shape[2] or _OPEN_SIZE, shape[3] or _OPEN_SIZE
    if height % _STRIDES[-1] or width % _STRIDES[-1]:
        raise _not_yolox(path, f"its input of {height}x{width} is not a multiple of 32")
    return height, width


def _not_yolox(path: Path, reason: str) -> InputError:
    return InputError(
        f"{path} is not a YOLOX detector: {reason}; export one with YOLOX's tools/export_onnx.py"
    )
