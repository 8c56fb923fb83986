"""The formats of exports, and which requests for one are refused before any work."""

from __future__ import annotations

from pathlib import Path

from reid_dhm.errors import InputError, UnsupportedError
from reid_dhm.extras import require
from reid_dhm.inference.engines.exported import installed

SUFFIXES = {
    "onnx": ".onnx",
    "openvino": ".xml",
    "torchscript": ".pt",
    "safetensors": ".safetensors",
}
"""Formats, and the suffixes by which their files are recognised."""

CALIBRATION = 300
"""Images that suffice to calibrate int8."""
VERIFICATION = 64
"""Real images that suffice to verify a file."""


def check_request(format: str, output: Path, int8: bool) -> None:
    """Refuse a format, an output file or int8 that cannot be written.

    Raises:
        InputError: an unknown format, or a file name that does not fit it.
        UnsupportedError: int8 in another format than ONNX and OpenVINO, or a missing package.
    """
    if format not in SUFFIXES:
        raise InputError(f"format is {format!r}: use {', '.join(SUFFIXES)}")
    if output.suffix != SUFFIXES[format]:
        raise InputError(
            f"{output} does not fit {format}: give a name ending in {SUFFIXES[format]}"
        )
    if output.is_dir():
        raise InputError(f"{output} is a folder: give the name of a file to write")
    if int8 and format not in ("onnx", "openvino"):
        raise UnsupportedError(f"int8 is not supported in {format}: use onnx or openvino")
    if format in ("onnx", "openvino"):
        require("onnx", f"format {format}", "onnx")
    if format == "onnx" and not installed("openvino"):
        require("onnx", "verifying format onnx", "onnxruntime")
    if format == "openvino" and not installed("openvino"):
        raise UnsupportedError("format openvino is verified with openvino: pip install openvino")


def spread(total: int, count: int) -> list[int]:
    """``count`` rows of ``total``, evenly from the first to the last; all if there are no more."""
    return [i * total // count for i in range(count)] if count < total else list(range(total))
