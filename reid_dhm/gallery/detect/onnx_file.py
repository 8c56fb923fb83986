"""Runs an ONNX file on the CPU: through OpenVINO where it is installed, else onnxruntime."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reid_dhm.errors import InputError, NotFoundError, UnsupportedError, first_line
from reid_dhm.inference.engines.openvino_runtime import openvino_core, read_model

Run = Callable[[NDArray[np.float32]], NDArray[np.float32]]


class OnnxFile(NamedTuple):
    """A network with one float32 input and one output, and the shape of the input.

    Attributes:
        input_shape: dimensions, None for dynamic ones.
        run: computes the first output; may be called by several threads.
        engine: ``openvino`` or ``onnxruntime``.
    """

    input_shape: tuple[int | None, ...]
    run: Run
    engine: str


def open_onnx(path: Path, threads: int = 1) -> OnnxFile:
    """Load a network.

    Args:
        path: the ``.onnx`` file.
        threads: how many call it at once.

    Raises:
        NotFoundError: no such file.
        InputError: not a network, or one with several inputs.
        UnsupportedError: nothing is installed that runs it.
    """
    if not path.is_file():
        raise NotFoundError(f"{path} does not exist: give an .onnx file")
    for module, load in (("openvino", _openvino), ("onnxruntime", _onnxruntime)):
        if importlib.util.find_spec(module) is None:
            continue
        try:
            return load(path, threads)
        except InputError:
            raise
        except Exception as error:  # both libraries raise many types
            line = first_line(error)[:120]
            raise InputError(f"{path} cannot be read as an ONNX network ({line})") from error
    raise UnsupportedError(
        f'nothing is installed that runs {path}: pip install openvino or "reid-dhm[onnx]"'
    )


def _one_input(path: Path, count: int) -> None:
    if count != 1:
        raise InputError(f"{path} has {count} inputs: it must take one image")


def _openvino(path: Path, threads: int) -> OnnxFile:
    model = read_model(path)
    _one_input(path, len(model.inputs))
    compiled = openvino_core().compile_model(
        model,
        "CPU",
        {
            "NUM_STREAMS": threads,
            # Boxes are the same on processors with and without 16-bit arithmetic.
            "INFERENCE_PRECISION_HINT": "f32",
        },
    )
    requests = threading.local()

    def run(images: NDArray[np.float32]) -> NDArray[np.float32]:
        if not hasattr(requests, "own"):
            requests.own = compiled.create_infer_request()
        found: dict[Any, Any] = requests.own.infer({0: images}, share_inputs=True)
        return np.array(found[compiled.output(0)], np.float32)

    shape = tuple(
        None if dimension.is_dynamic else dimension.get_length()
        for dimension in model.inputs[0].partial_shape
    )
    return OnnxFile(shape, run, "openvino")


def _onnxruntime(path: Path, threads: int) -> OnnxFile:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    if threads > 1:
        options.intra_op_num_threads = 1
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    _one_input(path, len(session.get_inputs()))
    (entry,) = session.get_inputs()

    def run(images: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(session.run(None, {entry.name: images})[0], np.float32)

    shape = tuple(d if isinstance(d, int) else None for d in entry.shape)
    return OnnxFile(shape, run, "onnxruntime")
