"""Runs a network in a file on the CPU: through OpenVINO where it is installed, else onnxruntime."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reid_dhm.errors import InputError, NotFoundError, UnsupportedError, first_line
from reid_dhm.inference.engines.openvino_runtime import openvino_core, read_graph

Outputs = Mapping[str, NDArray[Any]]
"""What a network gives, by name, in its order; numbers of 16 bits as float32."""


class Port(NamedTuple):
    """An input: its name, its dimensions (None where they are open) and its type."""

    name: str
    shape: tuple[int | None, ...]
    dtype: np.dtype[Any]


@dataclass(frozen=True)
class Graph:
    """A network.

    Attributes:
        inputs: what it takes.
        run: from one array an input, of its type, to the outputs; several threads may call it.
        metadata: what its exporter wrote into the file.
        engine: ``openvino`` or ``onnxruntime``.
    """

    inputs: tuple[Port, ...]
    run: Callable[[Sequence[NDArray[Any]]], Outputs]
    metadata: Mapping[str, str]
    engine: str


def open_network(path: Path, threads: int = 1) -> Graph:
    """Load a network.

    Args:
        path: an ``.onnx`` file, or an ``.xml`` with its ``.bin``.
        threads: how many call it at once.

    Raises:
        NotFoundError: no such file.
        InputError: not a network.
        UnsupportedError: nothing is installed that runs it.
    """
    if not path.is_file():
        raise NotFoundError(f"{path} does not exist: give an .onnx or .xml file")
    for module, load in (("openvino", _openvino), ("onnxruntime", _onnxruntime)):
        if importlib.util.find_spec(module) is None or (load, path.suffix) == (
            _onnxruntime,
            ".xml",
        ):
            continue
        try:
            return load(path, threads)
        except InputError:
            raise
        except Exception as error:  # both libraries raise many types
            line = first_line(error)[:120]
            raise InputError(
                f"{path} cannot be read as a network ({line}): export the model again"
            ) from error
    raise UnsupportedError(
        f'nothing is installed that runs {path}: pip install openvino or "reid-dhm[onnx]"'
    )


def _openvino(path: Path, threads: int) -> Graph:
    model = read_graph(path)
    compiled = openvino_core().compile_model(
        model,
        "CPU",
        {
            "NUM_STREAMS": threads,
            # Boxes are the same on processors with and without 16-bit arithmetic.
            "INFERENCE_PRECISION_HINT": "f32",
        },
    )
    names = [_name(port, f"output {n}") for n, port in enumerate(compiled.outputs)]
    requests = threading.local()

    def run(arrays: Sequence[NDArray[Any]]) -> Outputs:
        if not hasattr(requests, "own"):
            requests.own = compiled.create_infer_request()
        found = requests.own.infer(dict(enumerate(arrays)), share_inputs=True)
        return {name: _wide(np.array(found[n])) for n, name in enumerate(names)}

    inputs = tuple(
        Port(
            _name(port, f"input {n}"),
            tuple(None if d.is_dynamic else d.get_length() for d in port.partial_shape),
            port.element_type.to_dtype(),
        )
        for n, port in enumerate(model.inputs)
    )
    metadata = _onnx_metadata(path) if path.suffix == ".onnx" else _openvino_metadata(model)
    return Graph(inputs, run, metadata, "openvino")


def _onnxruntime(path: Path, threads: int) -> Graph:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    if threads > 1:
        options.intra_op_num_threads = 1
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    types = {"tensor(float)": "f4", "tensor(float16)": "f2", "tensor(double)": "f8"}
    inputs = tuple(
        Port(
            entry.name,
            tuple(d if isinstance(d, int) else None for d in entry.shape),
            np.dtype(types.get(entry.type) or entry.type[7:-1]),
        )
        for entry in session.get_inputs()
    )
    names = [output.name for output in session.get_outputs()]

    def run(arrays: Sequence[NDArray[Any]]) -> Outputs:
        feeds = {port.name: array for port, array in zip(inputs, arrays, strict=True)}
        return dict(zip(names, map(_wide, session.run(None, feeds)), strict=True))

    metadata = dict(session.get_modelmeta().custom_metadata_map)
    return Graph(inputs, run, metadata, "onnxruntime")


def _wide(array: Any) -> NDArray[Any]:
    return array.astype(np.float32) if array.dtype == np.float16 else array


def _name(port: Any, otherwise: str) -> str:
    return min(port.names, default=otherwise)


def _onnx_metadata(path: Path) -> dict[str, str]:
    import onnx

    model = onnx.load(path, load_external_data=False)
    return {entry.key: entry.value for entry in model.metadata_props}


def _openvino_metadata(model: Any) -> dict[str, str]:
    """Names of the classes, and which class of an SSD is the background."""
    found = {}
    labels = ["model_info", "labels"]
    if model.has_rt_info(labels):
        found["labels"] = str(model.get_rt_info(labels).value)
    last = model.outputs[0].get_node().input_value(0).get_node()
    if last.get_type_name() == "DetectionOutput":
        found["background"] = str(last.get_attributes()["background_label_id"])
    return found
