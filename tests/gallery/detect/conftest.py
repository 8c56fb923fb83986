"""Detection networks made here: each finds the orange rectangle of an image, as its family does.

The network compares pixels with the colour as its family is fed with it, so a wrong colour order,
normalisation or placement finds nothing or another box.
"""

import importlib.util
import io
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from reid_dhm.gallery.detect import graph

ORANGE = (40, 120, 250)  # blue, green, red
PLAIN = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
UNIT = ((0.0, 0.0, 0.0), (255.0, 255.0, 255.0))
IMAGENET = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
FEEDS = {
    "yolox": ("bgr", PLAIN),
    "ssd": ("bgr", PLAIN),
    "yolo": ("rgb", UNIT),
    "rtdetr": ("rgb", UNIT),
    "rfdetr": ("rgb", IMAGENET),
}


def cells(size, strides=(8, 16, 32)):
    """(N, 3) column, row, stride, written anew."""
    return torch.tensor(
        [(x, y, s) for s in strides for y in range(size[0] // s) for x in range(size[1] // s)],
        dtype=torch.float32,
    )


class Finder(nn.Module):
    """``layout(box, size)`` of the orange box (4,) x1, y1, x2, y2 in the input's pixels."""

    def __init__(self, family, layout, size):
        super().__init__()
        order, (mean, std) = FEEDS[family]
        colour = ORANGE if order == "bgr" else ORANGE[::-1]
        wanted = [(c - m) / s for c, m, s in zip(colour, mean, std, strict=True)]
        self.register_buffer("wanted", torch.tensor(wanted)[None, :, None, None])
        self.tolerance = 8 / std[0]
        self.layout, self.size = layout, size

    def forward(self, image, target=None):
        near = ((image.float() - self.wanted).abs().amax(1)[0] < self.tolerance).float()
        edges = []
        for axis in (0, 1):
            line = near.amax(axis)
            place = torch.arange(line.shape[0]) + 1.0
            length = torch.full_like(line[0], 10_000.0)
            edges.append((length - (line * (length - place)).max() - 1, (line * place).max()))
        (x1, x2), (y1, y2) = edges
        box = torch.stack([x1, y1, x2, y2])
        if target is not None:  # boxes come in the pixels of this size
            scale = target[0].float() / torch.tensor([float(image.shape[3]), float(image.shape[2])])
            box = box * torch.cat([scale, scale])
        return self.layout(box, self.size)


def centred(box):
    return torch.stack(
        [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2, box[2] - box[0], box[3] - box[1]]
    )


def scores(count, classes, rows):
    """(count, classes) zeros but for {row: {class: score}}."""
    table = torch.zeros(count, classes)
    for row, found in rows.items():
        for number, score in found.items():
            table[row, number] = score
    return table


def place_rows(base, rows):
    """``base`` (N, K) with some rows replaced, without in-place operations."""
    return torch.cat(
        [
            torch.cat([base[a:b], rows[b][None]] if b in rows else [base[a:b]])
            for a, b in zip(
                [0, *[r + 1 for r in sorted(rows)]], [*sorted(rows), len(base)], strict=True
            )
        ]
    )


PERSON = {0: 0.9, 1: 0.2}
BICYCLE = {0: 0.3, 1: 0.95}


def yolox(box, size, decoded=False, classes=80):
    grid = cells(size)
    base = torch.cat([(grid[:, :2] + 0.5) * grid[:, 2:], grid[:, 2:].expand(-1, 2)], 1)
    base = base if decoded else torch.zeros_like(base)
    column, row, stride = grid[70]
    found = centred(box)
    if not decoded:
        shift = torch.stack([column, row])
        found = torch.cat([found[:2] / stride - shift, torch.log(found[2:] / stride)])
    boxes = place_rows(base, {20: base[21], 70: found})
    objectness = torch.zeros(len(grid), 1)
    objectness[[20, 70]] = 0.8
    known = scores(len(grid), classes, {20: BICYCLE, 70: PERSON} if classes > 1 else {70: {0: 0.9}})
    return torch.cat([boxes, objectness, known], 1)[None]


def yolov5(box, size, anchors=3):
    count = anchors * len(cells(size))
    boxes = place_rows(torch.zeros(count, 4), {70: centred(box)})
    objectness = torch.zeros(count, 1) if anchors == 3 else torch.ones(count, 1)
    objectness[[20, 70]] = 0.8 if anchors == 3 else 1.0
    return torch.cat([boxes, objectness, scores(count, 80, {20: BICYCLE, 70: PERSON})], 1)[None]


def yolov8(box, size, classes=80, more=0):
    count = len(cells(size))
    boxes = place_rows(torch.zeros(count, 4), {70: centred(box)})
    known = scores(count, classes, {20: BICYCLE, 70: PERSON} if classes > 1 else {70: {0: 0.9}})
    return torch.cat([boxes, known, torch.full((count, more), 7.0)], 1).T[None]


def chosen(box, size):
    rows = [
        torch.cat([box, torch.tensor([0.9, 0.0])]),
        torch.tensor([1.0, 1, 9, 9, 0.95, 1]),
        torch.cat([box + 1, torch.tensor([0.85, 0.0])]),  # kept: the network has suppressed already
        torch.zeros(6),
    ]
    return torch.stack(rows)[None]


def three_parts(box, size):
    boxes = torch.stack([box, box + 50, torch.zeros(4)])[None]
    return torch.tensor([[0, 1, 0]]), boxes, torch.tensor([[0.9, 0.95, 0.0]])


def unit_rows(box, size):
    height, width = size
    unit = (centred(box) / torch.tensor([width, height, width, height])).clamp(0, 1)
    return torch.stack([torch.full((4,), 0.1), unit, torch.full((4,), 0.2)])


def queries(box, size, classes=80, person=0):
    logits = torch.logit(scores(3, classes, {0: {person + 1: 0.95}, 1: {person: 0.9}}), 1e-4)
    return unit_rows(box, size)[None], logits[None]


def logits_first(box, size):
    return queries(box, size)[::-1]


def normalised(box, size):
    rows = scores(3, 80, {0: BICYCLE, 1: PERSON})
    return torch.cat([unit_rows(box, size), rows], 1)[None]


def ssd(box, size):
    height, width = size
    unit = box / torch.tensor([width, height, width, height])
    rows = [
        torch.cat([torch.tensor([0.0, 1, 0.9]), unit]),
        torch.tensor([0, 2, 0.95, 0.0, 0.0, 0.5, 0.5]),
        torch.tensor([-1, 0, 0, 0, 0, 0, 0.0]),
        torch.tensor([0, 1, 0.9, 0.0, 0.0, 1.0, 1.0]),  # after the end
    ]
    return torch.stack(rows)[None, None]


@pytest.fixture
def stand_ins():
    """The helpers of this file."""
    pytest.importorskip("onnx")
    return sys.modules[__name__]


@pytest.fixture(params=["openvino", "onnxruntime"])
def engine(request, monkeypatch) -> str:
    """One engine at a time, as if the other were not installed."""
    found = importlib.util.find_spec(request.param)
    if found is None:
        pytest.skip(f"{request.param} is not installed")

    def find_spec(name: str):
        return found if name == request.param else None

    monkeypatch.setattr(graph.importlib.util, "find_spec", find_spec)
    return request.param


def write(
    path: Path,
    family: str,
    layout,
    size=(96, 160),
    *,
    outputs=("output0",),
    dtype=torch.float32,
    target=False,
    batch=1,
    dynamic=False,
    metadata=None,
) -> Path:
    """Export a network that finds the orange rectangle."""
    import onnx

    image = torch.zeros((batch, 3, *size), dtype=dtype)
    given = (image, torch.tensor([size[::-1]])) if target else (image,)
    names = ["images", "orig_target_sizes"][: len(given)]
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about tracing
        torch.onnx.export(
            Finder(family, layout, size).eval(),
            given,
            stream,
            input_names=names,
            output_names=list(outputs),
            dynamic_axes={"images": {0: "N", 2: "H", 3: "W"}} if dynamic else None,
            opset_version=17,
            dynamo=False,
        )
    model = onnx.load_from_string(stream.getvalue())
    for key, value in (metadata or {}).items():
        model.metadata_props.add(key=key, value=value)
    onnx.save(model, path)
    return path


def constant(path: Path, outputs: dict, shape=(1, 3, 64, 64), inputs=1) -> Path:
    """A network that gives the same numbers for every image."""
    import onnx

    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [
        helper.make_node("ReduceSum", ["x0"], ["sum"], keepdims=0),
        helper.make_node("Mul", ["sum", "zero"], ["nothing"]),
    ]
    values = [onnx.numpy_helper.from_array(np.float32(0), "zero")]
    for name, array in outputs.items():
        values.append(onnx.numpy_helper.from_array(np.asarray(array, np.float32), f"{name}_"))
        nodes.append(helper.make_node("Add", ["nothing", f"{name}_"], [name]))
    given = [helper.make_tensor_value_info(f"x{n}", kind, shape) for n in range(inputs)]
    found = [helper.make_tensor_value_info(n, kind, np.shape(a)) for n, a in outputs.items()]
    graph = helper.make_graph(nodes, "constant", given, found, values)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, path)
    return path
