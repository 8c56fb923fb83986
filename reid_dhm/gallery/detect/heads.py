"""What detection networks give, and reading it: boxes, scores and classes of candidates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from reid_dhm.gallery.detect.graph import Outputs

Size = tuple[int, int]
_STRIDES = ((8, 16, 32), (8, 16, 32, 64), (4, 8, 16, 32))
_NEAR = 0.5  # share of centres near their cells; about 0.1 where boxes are not decoded


@dataclass(frozen=True, eq=False)
class Candidates:
    """What a network found in one image.

    Attributes:
        boxes: (N, 4) float32 x1, y1, x2, y2 in the input's pixels.
        scores: (N,) float32 of the likeliest class, 0 to 1.
        classes: (N,) int64 likeliest class.
        num_classes: that the network tells apart; 0 where its outputs do not say.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    classes: NDArray[np.int64]
    num_classes: int = 0


@dataclass(frozen=True)
class Head:
    """One layout of outputs.

    Attributes:
        layout: for messages.
        fits: whether outputs have it, given the input's size and the number of named classes (0 if
            there are no names).
        read: outputs of this layout; same arguments.
        overlap: of two boxes with a larger intersection over union, the one of lower score is
            suppressed; None where the network suppresses them itself.
    """

    layout: str
    fits: Callable[[Outputs, Size, int], bool]
    read: Callable[[Outputs, Size, int], Candidates]
    overlap: float | None = None


def _table(outputs: Outputs) -> NDArray[np.float32]:
    """(N, K) of the first output (1, N, K); (0, 0) if it is none."""
    first = next(iter(outputs.values()))
    return first[0] if first.ndim == 3 and len(first) == 1 else np.zeros((0, 0), np.float32)


def cells_of(size: Size, strides: tuple[int, ...] = _STRIDES[0]) -> NDArray[np.float32]:
    """(N, 3) column, row and stride of every cell, in the order of the outputs."""
    return _cells(size, strides)


@lru_cache(maxsize=16)
def _cells(size: Size, strides: tuple[int, ...]) -> NDArray[np.float32]:
    levels = []
    for stride in strides:
        rows, columns = np.mgrid[: size[0] // stride, : size[1] // stride]
        level = np.stack([columns.ravel(), rows.ravel(), np.full(rows.size, stride)], axis=1)
        levels.append(level.astype(np.float32))
    return np.concatenate(levels)


def _counts(size: Size) -> set[int]:
    """How many cells the usual strides give."""
    return {sum(size[0] // s * (size[1] // s) for s in strides) for strides in _STRIDES}


def corners(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, 4) centre, width and height to (N, 4) x1, y1, x2, y2."""
    half = boxes[:, 2:] / 2
    return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)


def _of_classes(
    boxes: NDArray[np.float32],
    classes: NDArray[np.float32],
    factor: NDArray[np.float32] | None = None,
) -> Candidates:
    """Candidates from (N, 4) boxes, (N, C) scores of the classes and (N,) objectness."""
    best = classes.argmax(axis=1)
    scores = np.take_along_axis(classes, best[:, None], axis=1)[:, 0]
    scores = scores if factor is None else factor * scores
    return Candidates(boxes, scores, best, classes.shape[1])


def _is_yolox(outputs: Outputs, size: Size, named: int) -> bool:
    rows, columns = _table(outputs).shape
    return rows == len(cells_of(size)) and columns >= 6 and named in (0, columns - 5)


def _is_decoded(outputs: Outputs, size: Size, named: int) -> bool:
    """Whether boxes are in pixels: most centres lie near their cells, and not near the origin."""
    if not _is_yolox(outputs, size, named):
        return False
    cells, table = cells_of(size), _table(outputs)
    stride = cells[:, 2:]
    away = np.abs(table[:, :2] - (cells[:, :2] + 0.5) * stride).max(axis=1)
    return bool((away <= 2 * stride[:, 0]).mean() > _NEAR)


def _read_raw(outputs: Outputs, size: Size, named: int) -> Candidates:
    """Centre relative to its cell and logarithm of the size, both in strides."""
    table, cells = _table(outputs), cells_of(size)
    stride = cells[:, 2:]
    centre = (table[:, :2] + cells[:, :2]) * stride
    sides = np.exp(np.minimum(table[:, 2:4], 20)) * stride
    boxes = corners(np.concatenate([centre, sides], axis=1))
    return _of_classes(boxes, table[:, 5:], table[:, 4])


def _read_objectness(outputs: Outputs, size: Size, named: int) -> Candidates:
    table = _table(outputs)
    return _of_classes(corners(table[:, :4]), table[:, 5:], table[:, 4])


def _is_anchored(outputs: Outputs, size: Size, named: int) -> bool:
    """Three anchors a cell (YOLOv5, v7), or one and an objectness of 1 everywhere (YOLOv6)."""
    table = _table(outputs)
    rows, columns = table.shape
    if columns < 6 or named not in (0, columns - 5):
        return False
    counts = _counts(size)
    return rows in {3 * count for count in counts} or (
        rows in counts and bool((table[:, 4] == 1).all())
    )


def _dense(outputs: Outputs, size: Size, named: int) -> NDArray[np.float32]:
    """(cells, 4 + classes …) of YOLOv8 and later, in whichever order; (0, 0) if it is not."""
    table = _table(outputs)
    if named and len(table) in _counts(size) and table.shape[1] == 4 + named:
        return table
    rows = table.T
    upright = not named and len(table) == len(cells_of(size))  # as YOLOX and YOLOv6 give it
    if len(rows) in _counts(size) and rows.shape[1] >= 4 + max(named, 1) and not upright:
        return rows
    return np.zeros((0, 0), np.float32)


def _is_dense(outputs: Outputs, size: Size, named: int) -> bool:
    return len(_dense(outputs, size, named)) > 0


def _read_dense(outputs: Outputs, size: Size, named: int) -> Candidates:
    rows = _dense(outputs, size, named)
    classes = rows[:, 4 : 4 + named] if named else rows[:, 4:]  # masks and key points follow
    return _of_classes(corners(rows[:, :4]), classes)


def _is_chosen(outputs: Outputs, size: Size, named: int) -> bool:
    rows, columns = _table(outputs).shape
    return len(outputs) == 1 and columns == 6 and rows not in _counts(size)


def _read_chosen(outputs: Outputs, size: Size, named: int) -> Candidates:
    table = _table(outputs)
    return Candidates(table[:, :4], table[:, 4], table[:, 5].astype(np.int64), named)


def _queries(outputs: Outputs) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    """Boxes (N, 4) and logits (N, C) of a DETR, by the names of its outputs."""
    for boxes, logits in (("dets", "labels"), ("pred_boxes", "logits")):
        if boxes in outputs and logits in outputs:
            pair = outputs[boxes], outputs[logits]
            if all(array.ndim == 3 and len(array) == 1 for array in pair):
                return pair[0][0], pair[1][0]
    return None


def _is_rfdetr(outputs: Outputs, size: Size, named: int) -> bool:
    return "dets" in outputs and _queries(outputs) is not None


def _is_sigmoid_detr(outputs: Outputs, size: Size, named: int) -> bool:
    found = _queries(outputs)
    return "pred_boxes" in outputs and found is not None and found[1].shape[1] in (80, named or 80)


def _read_queries(outputs: Outputs, size: Size, named: int) -> Candidates:
    found = _queries(outputs)
    assert found is not None
    boxes, logits = found
    return _of_classes(_in_pixels(boxes, size), expit(logits))


def _in_pixels(boxes: NDArray[np.float32], size: Size) -> NDArray[np.float32]:
    """Centre and size from 0 to 1, to corners in pixels."""
    return corners(boxes * np.array([size[1], size[0]] * 2, np.float32))


def _parts(outputs: Outputs) -> tuple[NDArray, NDArray, NDArray] | None:
    """Boxes, scores and labels of a network that ends in three outputs."""
    arrays = [array for array in outputs.values() if len(array) == 1]
    boxes = [a for a in arrays if a.ndim == 3 and a.shape[2] == 4]
    scores = [a for a in arrays if a.ndim == 2 and a.dtype.kind == "f"]
    labels = [a for a in arrays if a.ndim == 2 and a.dtype.kind in "iu"]
    if len(arrays) != 3 or not (len(boxes) == len(scores) == len(labels) == 1):
        return None
    return boxes[0][0], scores[0][0], labels[0][0]


def _read_parts(outputs: Outputs, size: Size, named: int) -> Candidates:
    parts = _parts(outputs)
    assert parts is not None
    return Candidates(parts[0], parts[1], parts[2].astype(np.int64), named)


def _is_normalised(outputs: Outputs, size: Size, named: int) -> bool:
    table = _table(outputs)
    known = len(outputs) == 1 and len(table) and table.shape[1] in (84, 4 + (named or 80))
    return bool(known and (table[:, :4] >= 0).all() and (table[:, :4] <= 1).all())


def _read_normalised(outputs: Outputs, size: Size, named: int) -> Candidates:
    table = _table(outputs)
    return _of_classes(_in_pixels(table[:, :4], size), table[:, 4:])


def _is_ssd(outputs: Outputs, size: Size, named: int) -> bool:
    (shape, *others) = (array.shape for array in outputs.values())
    return not others and len(shape) == 4 and shape[:2] == (1, 1) and shape[3] == 7


def _read_ssd(outputs: Outputs, size: Size, named: int) -> Candidates:
    """Rows of image, class, score and corners from 0 to 1."""
    rows = next(iter(outputs.values()))[0, 0]
    # A row with a negative image number ends the list; what follows is not set.
    ends = np.flatnonzero(rows[:, 0] < 0)
    rows = rows[: ends[0]] if len(ends) else rows
    boxes = rows[:, 3:] * np.array([size[1], size[0]] * 2, np.float32)
    # Without names, people are the first class after the background, as among COCO's 91.
    return Candidates(boxes, rows[:, 2], rows[:, 1].astype(np.int64), named or 91)


SSD = Head("(1, 1, N, 7)", _is_ssd, _read_ssd)
YOLOX = (
    Head("(1, cells, 5 + classes)", _is_decoded, _read_objectness, 0.6),
    Head("(1, cells, 5 + classes)", _is_yolox, _read_raw, 0.6),
)
YOLO = (
    Head("(1, 4 + classes, cells)", _is_dense, _read_dense, 0.6),
    Head("(1, 3 x cells, 5 + classes)", _is_anchored, _read_objectness, 0.6),
    Head("(1, N, 6)", _is_chosen, _read_chosen),
)
RTDETR = (
    Head("labels, boxes and scores (1, N)", lambda o, *_: _parts(o) is not None, _read_parts),
    Head("logits (1, N, 80) and pred_boxes", _is_sigmoid_detr, _read_queries),
    Head("(1, N, 4 + classes) from 0 to 1", _is_normalised, _read_normalised),
)
RFDETR = (Head("dets (1, N, 4) and labels (1, N, classes)", _is_rfdetr, _read_queries),)
