"""The ONNX Runtime engine: float32 on the CPU and through CUDA, fp16 through TensorRT."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from reid_dhm.devices import cpu_threads
from reid_dhm.errors import InputError, UnsupportedError, first_line
from reid_dhm.inference.engines.exported import INPUT, OUTPUTS, RAW

_PROVIDERS = {"fp16": "TensorrtExecutionProvider", "float32": "CUDAExecutionProvider"}
"""Provider of each precision on a GPU; TensorRT would round float32 to TF32."""


class OnnxRuntimeEngine:
    """Runs a graph; see :class:`~reid_dhm.inference.engines.agreement.Engine`.

    Args:
        graph: serialised ONNX, or an ``.onnx`` file, with the input and outputs of
            :func:`~reid_dhm.inference.engines.network.onnx_graph`.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        precision: ``float32``, or ``fp16`` on a GPU.
        batch_size: images per batch; ``None`` for what suits the device.

    Raises:
        InputError: a file that is not such a graph.
        UnsupportedError: a GPU whose provider cannot be loaded.
    """

    name = "onnxruntime"

    def __init__(
        self,
        graph: bytes | Path,
        device: str,
        precision: str = "float32",
        batch_size: int | None = None,
    ) -> None:
        import onnxruntime

        self.device = device
        self.precision = precision
        kind, _, index = device.partition(":")
        on_gpu = kind == "cuda"
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors alone
        if not on_gpu:
            options.intra_op_num_threads = 1  # one batch per core, without waiting for each other
        self.batch_size = batch_size or (128 if on_gpu else 4)
        self.streams = 2 if on_gpu else cpu_threads()
        # Kernels are built for one batch size, so a GPU always gets batches of that size.
        self._rows = self.batch_size if on_gpu else 0
        providers = _gpu_providers(int(index or 0), precision) if on_gpu else []
        name = str(graph) if isinstance(graph, Path) else "the graph"
        try:
            self._session = onnxruntime.InferenceSession(
                str(graph) if isinstance(graph, Path) else graph,
                options,
                providers=[*providers, "CPUExecutionProvider"],
                enable_fallback=0,  # otherwise a provider that cannot be loaded is dropped silently
            )
        except Exception as error:  # its exceptions share no other base
            raise InputError(
                f"{name} cannot be run by ONNX Runtime ({first_line(error)}): export the model "
                "again"
            ) from error
        if on_gpu and self._session.get_providers()[0] != _PROVIDERS[precision]:
            raise UnsupportedError(
                f"{_PROVIDERS[precision]} cannot be loaded to run {name}: install the libraries of "
                "CUDA (for fp16, of TensorRT) or use engine torch"
            )
        dims = {output.name: output.shape[1] for output in self._session.get_outputs()}
        self.dim = int(dims[RAW])

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """(N, H, W, 3) uint8 RGB → (N, D) float32."""
        return self._run([RAW], images)[0]

    def outputs(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """(N, H, W, 3) uint8 RGB → all outputs of the graph, by name."""
        return dict(zip(OUTPUTS, self._run(OUTPUTS, images), strict=True))

    def _run(self, outputs: Sequence[str], images: np.ndarray) -> list[np.ndarray]:
        missing = self._rows - len(images)
        if missing <= 0:
            return self._session.run(outputs, {INPUT: images})
        full = np.pad(images, ((0, missing), (0, 0), (0, 0), (0, 0)))
        return [found[: len(images)] for found in self._session.run(outputs, {INPUT: full})]


def gpu_precisions() -> tuple[str, ...]:
    """Precisions that this ONNX Runtime was built for on a GPU; a session may still fail."""
    import onnxruntime

    available = onnxruntime.get_available_providers()
    return tuple(precision for precision, name in _PROVIDERS.items() if name in available)


def _gpu_providers(index: int, precision: str) -> list[tuple[str, dict[str, object]]]:
    """Providers for a graph on the GPU, best first."""
    cuda: tuple[str, dict[str, object]] = (
        _PROVIDERS["float32"],
        {"device_id": index, "use_tf32": 0},
    )
    if precision == "float32":
        return [cuda]
    return [(_PROVIDERS["fp16"], {"device_id": index, "trt_fp16_enable": True}), cuda]
