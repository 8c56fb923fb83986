"""Graphs that others exported: how they are fed, and giving them the package's own interface.

The graph says its layout, data type, batch and size. Colour order, scale, mean and deviation come
from a preset, from a card beside the file, or from the metadata of a known family.
"""

from __future__ import annotations

import hashlib
import json
import math
import operator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reid_dhm.data.normalisation import IMAGENET_MEAN, IMAGENET_STD
from reid_dhm.errors import InputError, UnsupportedError, first_line
from reid_dhm.inference.engines.exported import INPUT, RAW, graph_files
from reid_dhm.inference.engines.openvino_runtime import openvino, read_graph

_BYTE_MEAN = tuple(255 * value for value in IMAGENET_MEAN)
_BYTE_STD = tuple(255 * value for value in IMAGENET_STD)
_OMZ_REID = "person-reidentification-retail-"
_LARGEST_DIM = 65536
_CARD_KEYS = {"channels", "mean", "std", "scale", "size"}
_IDENTITIES = {
    702: "DukeMTMC-reID has identities",
    751: "Market-1501 has identities",
    767: "CUHK03 has identities",
    1000: "ImageNet has classes",
    1041: "MSMT17 has identities",
    4101: "MSMT17 has identities",
}


@dataclass(frozen=True, slots=True)
class InputFormat:
    """How pixels become the numbers that a graph takes: (pixel - mean) / std.

    Attributes:
        channels: ``rgb`` or ``bgr``.
        mean, std: for pixels in 0 … 255, in the order red, green, blue.
        size: height and width of the input in pixels, where a card says them.

    Raises:
        InputError: another colour order, or numbers that no image can be fed with.
    """

    channels: str
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    size: tuple[int, int] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.channels not in ("rgb", "bgr"):
            raise InputError(f"channels is {self.channels!r}: use rgb or bgr")
        numbers = (*self.mean, *self.std)
        if len(self.mean) != 3 or len(self.std) != 3 or not all(map(math.isfinite, numbers)):
            raise InputError("mean and std are three finite numbers each, for pixels in 0 … 255")
        if min(self.std) <= 0:
            raise InputError(f"std is {list(self.std)}: use numbers above 0")


PRESETS = {
    "openvino": InputFormat("bgr"),
    "fastreid": InputFormat("rgb"),
    "torchreid": InputFormat("rgb", _BYTE_MEAN, _BYTE_STD),
    "imagenet": InputFormat("rgb", _BYTE_MEAN, _BYTE_STD),
}
"""Input formats by name. Open Model Zoo's and fast-reid's exports normalise inside the graph;
torchreid's and boxmot's take ImageNet-normalised RGB."""


@dataclass(frozen=True, slots=True)
class ForeignGraph:
    """What was found of a graph.

    Attributes:
        path: ``.onnx`` or ``.xml``.
        format: how it is fed.
        size: height and width of its input, in pixels.
        fingerprint: SHA-256 over the graph, its weights and the format.
    """

    path: Path
    format: InputFormat
    size: tuple[int, int]
    fingerprint: str


def parse_format(text: str) -> InputFormat:
    """A preset by name, or a JSON card: ``{"channels": "rgb", "mean": […], "std": […]}``.

    A card's ``scale`` divides the pixels first: 255 where mean and std are for 0 … 1. Its ``size``
    ([height, width]) serves a graph that leaves its size open.

    Raises:
        InputError: neither a preset nor a readable card.
    """
    if text in PRESETS:
        return PRESETS[text]
    path = Path(text).expanduser()
    if not path.is_file():
        raise InputError(f"input is {text!r}: use {', '.join(PRESETS)} or a JSON card's file")
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        if unknown := card.keys() - _CARD_KEYS:
            raise ValueError(f"unknown key {min(unknown)[:40]!r}")
        scale = float(card.get("scale", 1))
        mean = tuple(scale * float(value) for value in card.get("mean", (0, 0, 0)))
        std = tuple(scale * float(value) for value in card.get("std", (1, 1, 1)))
        size = card.get("size")
        if size is not None:
            height, width = (operator.index(side) for side in size)
            size = (height, width)
        return InputFormat(card["channels"], mean, std, size)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{path} is not an input card ({type(error).__name__}: {first_line(error)}): write "
            "channels (rgb or bgr), mean, std and scale where pixels are normalised, and size "
            "where the graph leaves it open"
        ) from None


def open_foreign(
    path: Path, input: str | None = None, size: tuple[int, int] | None = None
) -> ForeignGraph:
    """Find out how a graph is fed, and refuse what gives no embedding.

    Args:
        path: ``.onnx`` or ``.xml`` with its ``.bin``.
        input: a preset or a card; without it the card beside the file (``FILE.json``), or the
            metadata of a known family.
        size: height and width of the input where the graph leaves them open.

    Raises:
        InputError: a graph that cannot be read, takes no image, gives no embedding, or whose input
            format cannot be known.
    """
    model = read_graph(path)
    format = _find_format(path, model, input)
    _, graph_size = _image_input(path, model)
    if format.size is not None and format.size != (size or graph_size or format.size):
        raise InputError(
            f"the card of {path} says images of {format.size[0]}x{format.size[1]}, but "
            f"{'its input is' if size is None else 'size is'} "
            f"{'x'.join(map(str, size or graph_size or ()))}: correct the card's size"
        )
    size = size or format.size
    if graph_size is not None and size is not None and graph_size != size:
        raise InputError(
            f"{path} takes images of {graph_size[0]}x{graph_size[1]}, not {size[0]}x{size[1]}: "
            "leave size out"
        )
    found = graph_size or size
    if found is None:
        raise InputError(f"{path} takes images of any size: give its own, e.g. --size 256x128")
    _check_output(path, model)
    return ForeignGraph(path, format, found, _fingerprint(path, format))


def adapted_model(graph: ForeignGraph) -> Any:
    """The graph as an ``openvino.Model`` with the interface of the package's own exports.

    Its input takes (N, H, W, 3) uint8 RGB, its output gives (N, D) float32. N stays fixed where
    the graph cannot take another.

    Raises:
        UnsupportedError: a graph that OpenVINO cannot adapt.
    """
    ov = openvino()
    from openvino import opset13 as ops
    from openvino.preprocess import ColorFormat, PrePostProcessor

    model = read_graph(graph.path)
    layout, _ = _image_input(graph.path, model)
    height, width = graph.size
    shape = [-1, 3, height, width] if layout == "NCHW" else [-1, height, width, 3]
    fixed = model.inputs[0].partial_shape
    try:
        model.reshape({0: shape})
        if model.outputs[0].partial_shape[0].is_static:
            raise RuntimeError("the output's batch is fixed")
    except RuntimeError:
        batch = fixed[0].get_length() if fixed[0].is_static else 1
        model.reshape({0: [batch, *shape[1:]]})
    try:
        steps = PrePostProcessor(model)
        image = steps.input(0)
        image.tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
        image.tensor().set_color_format(ColorFormat.RGB)
        image.model().set_layout(ov.Layout(layout))
        image.preprocess().convert_element_type(ov.Type.f32)
        image.preprocess().mean(list(graph.format.mean)).scale(list(graph.format.std))
        if graph.format.channels == "bgr":
            image.preprocess().convert_color(ColorFormat.BGR)
        steps.output(0).tensor().set_element_type(ov.Type.f32)
        prepared = steps.build()
        feature = prepared.get_results()[0].input_value(0)
        flat = ops.reshape(feature, [0, -1], special_zero=True)
        adapted = ov.Model([flat.output(0)], prepared.get_parameters(), graph.path.stem)
        adapted.inputs[0].tensor.set_names({INPUT})
        adapted.outputs[0].tensor.set_names({RAW})
    except RuntimeError as error:
        raise UnsupportedError(
            f"{graph.path} cannot be prepared by OpenVINO ({first_line(error)}): export it with "
            "one float image input"
        ) from error
    return adapted


def _find_format(path: Path, model: Any, input: str | None) -> InputFormat:
    if input is not None:
        return parse_format(input)
    card = path.with_suffix(".json")
    if card.is_file():
        return parse_format(str(card))
    key = ["conversion_parameters", "model_name"]
    if model.has_rt_info(key) and str(model.get_rt_info(key).value).startswith(_OMZ_REID):
        return PRESETS["openvino"]
    raise InputError(
        f"{path} does not state its colour order and normalisation: give --input "
        f"{'|'.join(PRESETS)}, or a JSON card (channels, mean, std, scale) as --input FILE or as "
        f"{card.name} beside it"
    )


def _image_input(path: Path, model: Any) -> tuple[str, tuple[int, int] | None]:
    """Layout of the only input, and its height and width where the graph fixes them."""
    if len(model.inputs) != 1:
        names = ", ".join(sorted(port.any_name for port in model.inputs))
        raise InputError(f"{path} has the inputs {names}: an embedder has one, an image")
    shape = model.inputs[0].partial_shape
    lengths = [dim.get_length() if dim.is_static else None for dim in shape] if shape.rank else []
    if len(lengths) == 4 and 3 in (lengths[1], lengths[3]):
        layout = "NCHW" if lengths[1] == 3 else "NHWC"
        height, width = lengths[2:] if layout == "NCHW" else lengths[1:3]
        return layout, None if height is None or width is None else (height, width)
    raise InputError(
        f"{path} takes {shape}, not a batch of colour images (N, 3, H, W) or (N, H, W, 3)"
    )


def _check_output(path: Path, model: Any) -> None:
    if len(model.outputs) != 1:
        shapes = ", ".join(str(port.partial_shape) for port in model.outputs)
        raise InputError(
            f"{path} has {len(model.outputs)} outputs ({shapes}): export the embedding alone; a "
            "detector goes to --detector"
        )
    shape = model.outputs[0].partial_shape
    lengths = [dim.get_length() if dim.is_static else None for dim in shape]
    long = [length for length in lengths[1:] if length != 1]
    if len(lengths) < 2 or len(long) != 1 or long[0] is None or long[0] > _LARGEST_DIM:
        raise InputError(
            f"{path} gives {shape}, not an embedding (N, D): export the network up to its "
            "feature; a detector goes to --detector"
        )
    node = model.outputs[0].get_node().input_value(0).get_node()
    if node.get_type_name() == "Softmax" or long[0] in _IDENTITIES:
        why = f"as many as {_IDENTITIES[long[0]]}" if long[0] in _IDENTITIES else "after a softmax"
        raise InputError(
            f"{path} gives {long[0]} numbers, {why}: not an embedding but the output "
            "of a classifier; export the network up to its feature"
        )


def _fingerprint(path: Path, format: InputFormat) -> str:
    facts = {"channels": format.channels, "mean": format.mean, "std": format.std}
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for file in graph_files(path):
        with file.open("rb") as stream:
            while block := stream.read(2**20):
                digest.update(block)
    return digest.hexdigest()
