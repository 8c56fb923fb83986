"""The OpenVINO engine: CPUs, in float32 or bfloat16."""

from __future__ import annotations

from queue import SimpleQueue
from typing import Any

import numpy as np

from reid_dhm.devices import cpu_threads
from reid_dhm.inference.engines.exported import INPUT, OUTPUTS, RAW
from reid_dhm.inference.engines.openvino_runtime import openvino_core, read_graph

_HINTS = {"float32": "f32", "bf16": "bf16"}


class OpenVINOEngine:
    """Runs a graph on the CPU; see :class:`~reid_dhm.inference.engines.agreement.Engine`.

    Args:
        graph: serialised ONNX, a file (``.onnx``, ``.xml``) or an ``openvino.Model``, with the
            input and outputs of :func:`~reid_dhm.inference.engines.network.onnx_graph`.
        precision: ``float32`` or ``bf16``; in an int8 graph, that of the other layers.

    Raises:
        InputError: a file that is not such a graph.
    """

    name = "openvino"
    device = "cpu"
    batch_size = 8  # fits a core's cache

    def __init__(self, graph: Any, precision: str = "float32") -> None:
        compiled = openvino_core().compile_model(
            read_graph(graph),
            "CPU",
            {
                "PERFORMANCE_HINT": "THROUGHPUT",
                "INFERENCE_PRECISION_HINT": _HINTS[precision],
                "INFERENCE_NUM_THREADS": cpu_threads(),
                # Pinned threads of several processes would all run on the first cores.
                "ENABLE_CPU_PINNING": False,
            },
        )
        self.precision = precision
        rows = compiled.input(INPUT).partial_shape[0]
        self._rows = int(rows.get_length()) if rows.is_static else 0
        if self._rows:
            self.batch_size = self._rows
        self.dim = int(compiled.output(RAW).partial_shape[1].get_length())
        self.streams = int(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")) + 1
        self._requests: SimpleQueue[Any] = SimpleQueue()
        for _ in range(self.streams):
            self._requests.put(compiled.create_infer_request())

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """(N, H, W, 3) uint8 RGB → (N, D) float32."""
        if not self._rows:
            return self._run(images)[RAW]
        missing = -len(images) % self._rows
        full = np.pad(images, ((0, missing), (0, 0), (0, 0), (0, 0)))
        parts = [self._run(part)[RAW] for part in np.split(full, len(full) // self._rows)]
        return np.concatenate(parts)[: len(images)]

    def outputs(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """(N, H, W, 3) uint8 RGB → all outputs of the graph, by name."""
        found = self._run(images)
        return {name: found[name] for name in OUTPUTS}

    def _run(self, images: np.ndarray) -> Any:
        request = self._requests.get()
        try:
            # Inputs and outputs are copied: a request that once shared our memory writes later
            # inputs into it (seen in 2026.4).
            return request.infer({INPUT: images}, share_inputs=False, share_outputs=False)
        finally:
            self._requests.put(request)


def has_bf16() -> bool:
    """Whether OpenVINO computes in bfloat16 on this CPU."""
    return "BF16" in openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
