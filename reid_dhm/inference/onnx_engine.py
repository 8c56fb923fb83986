"""The ONNX Runtime engine: float32 on the CPU; on CUDA through TensorRT where that is installed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import torch

from reid_dhm.errors import InputError
from reid_dhm.inference.network import INPUT, RAW

_TENSORRT, _CUDA = "TensorrtExecutionProvider", "CUDAExecutionProvider"


class OnnxRuntimeEngine:
    """Runs a graph; see :class:`~reid_dhm.inference.agreement.Engine`.

    Args:
        graph: serialised ONNX, or an ``.onnx`` file, with the input and outputs of
            :func:`~reid_dhm.inference.network.onnx_graph`.
        device: where, as PyTorch names it.
        precision: ``float32``, or ``fp16`` where TensorRT runs the network.

    Raises:
        InputError: a file that is no such graph, or no provider for the device.
    """

    name = "onnxruntime"

    def __init__(
        self, graph: bytes | Path, device: torch.device, precision: str = "float32"
    ) -> None:
        self.device = str(device)
        self.precision = precision
        on_gpu = device.type == "cuda"
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # its warnings are for those who write kernels
        if not on_gpu:
            options.intra_op_num_threads = 1  # a batch a core, which need not wait for each other
        self.batch_size = 128 if on_gpu else 4
        self.streams = 2 if on_gpu else torch.get_num_threads()
        providers = _gpu_providers(device.index or 0, precision) if on_gpu else []
        try:
            self._session = onnxruntime.InferenceSession(
                str(graph) if isinstance(graph, Path) else graph,
                options,
                providers=[*providers, "CPUExecutionProvider"],
            )
        except Exception as error:  # its exceptions share no other base
            reason = str(error).strip().splitlines()[-1]
            raise InputError(
                f"{graph if isinstance(graph, Path) else 'the graph'} cannot be run by "
                f"ONNX Runtime ({reason}): export the model again"
            ) from error
        dims = {output.name: output.shape[1] for output in self._session.get_outputs()}
        self.dim = int(dims[RAW])

    def __call__(self, pictures: np.ndarray) -> np.ndarray:
        """(N, H, W, 3) uint8 RGB → (N, D) float32."""
        (raw,) = self._session.run([RAW], {INPUT: pictures})
        return raw


def tensorrt_is_there() -> bool:
    """Whether this ONNX Runtime can hand graphs to TensorRT."""
    return _TENSORRT in onnxruntime.get_available_providers()


def _gpu_providers(index: int, precision: str) -> list[tuple[str, dict[str, object]]]:
    """What runs a graph on the GPU, best first.

    Raises:
        InputError: this ONNX Runtime is one for CPUs.
    """
    wanted: list[tuple[str, dict[str, object]]] = [
        (_TENSORRT, {"device_id": index, "trt_fp16_enable": precision == "fp16"}),
        (_CUDA, {"device_id": index, "use_tf32": 0}),
    ]
    available = onnxruntime.get_available_providers()
    if providers := [provider for provider in wanted if provider[0] in available]:
        return providers
    raise InputError(
        "this ONNX Runtime has no provider for a GPU: pip install onnxruntime-gpu instead of "
        "onnxruntime, or use engine torch"
    )
