"""The PyTorch engine: channels last, batch normalisations folded, float32 or 16 bits.

With ``plain=True`` it is eager PyTorch in float32, the reference of every engine.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from reid_dhm.data.augmentation import TestTransform
from reid_dhm.devices import full_float32, parse_device
from reid_dhm.errors import InputError
from reid_dhm.inference.engines.network import EmbeddingNetwork
from reid_dhm.models.card import ModelCard
from reid_dhm.models.reid import ReIDModel

DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

_Embed = Callable[[Tensor], Tensor]


class TorchEngine:
    """Runs a model in PyTorch; see :class:`~reid_dhm.inference.engines.agreement.Engine`.

    Args:
        model: in eval mode; on a GPU, a copy of it runs.
        card: its size, normalisation and which embedding is meant.
        device: ``auto`` (CUDA if there is any), ``cpu``, ``cuda`` or ``cuda:N``.
        precision: ``float32`` (without TF32), ``bf16`` or ``fp16``.
        compiled: compile the network and replay it as one CUDA graph; only on CUDA.
        plain: do not fold batch normalisations.
        batch_size: images per batch, for which a CUDA graph is recorded; ``None`` for the default.

    Raises:
        InputError: a device that is not there, or ``compiled`` on the CPU.
    """

    name = "torch"

    def __init__(
        self,
        model: ReIDModel,
        card: ModelCard,
        device: str = "auto",
        precision: str = "float32",
        *,
        compiled: bool = False,
        plain: bool = False,
        batch_size: int | None = None,
    ) -> None:
        self._device = parse_device(device)
        self._on_gpu = self._device.type == "cuda"
        if compiled and not self._on_gpu:
            raise InputError("compiled needs a GPU: leave it out on the CPU")
        self.device = str(self._device)
        self.precision = precision
        self.batch_size = batch_size or (256 if self._on_gpu else 32)
        self.streams = 2 if self._on_gpu else 1  # one waits for its result, the other feeds the GPU
        self._dtype = DTYPES[precision]
        self._transform = TestTransform(card.size, card.mean, card.std)

        network = EmbeddingNetwork(model, card).eval()
        if self._on_gpu:  # a copy: other engines export the model from the CPU
            network = copy.deepcopy(network).to(self._device)
        module = network if plain else network.folded()
        self._embed: _Embed = module.to(memory_format=torch.channels_last)
        self._forward: _Embed = self._run
        example = torch.zeros((1, *card.size, 3), dtype=torch.uint8, device=self._device)
        if compiled:
            self._embed = torch.compile(self._embed)
            self._forward = _CudaGraph(self._run, example.expand(self.batch_size, -1, -1, -1))
        with torch.inference_mode():
            self.dim = self._forward(example).shape[1]

    @torch.inference_mode()
    def __call__(self, images: np.ndarray) -> np.ndarray:
        """(N, H, W, 3) uint8 RGB → (N, D) float32."""
        batch = torch.from_numpy(images)
        if self._on_gpu:
            batch = batch.pin_memory()
        return self._forward(batch.to(self._device, non_blocking=True)).cpu().numpy()

    def _run(self, batch: Tensor) -> Tensor:
        """(N, H, W, 3) uint8 on the device → (N, D) float32 there."""
        inputs = self._transform(batch.permute(0, 3, 1, 2))
        if self._dtype == torch.float32:
            with full_float32(self._device):
                return self._embed(inputs).float()
        # Every weight is used once, and a CUDA graph must record its cast.
        with torch.autocast(self._device.type, dtype=self._dtype, cache_enabled=False):
            return self._embed(inputs).float()


class _CudaGraph:
    """Replays, as one CUDA graph, the kernels of a function for a batch of one size.

    Smaller batches are padded with the last one's rows; larger ones run without the graph.
    """

    def __init__(self, function: Callable[[Tensor], Tensor], example: Tensor) -> None:
        self._function = function
        self._inputs = example.clone()
        self._lock = threading.Lock()  # inputs and outputs are memory of the graph
        aside = torch.cuda.Stream(example.device)
        aside.wait_stream(torch.cuda.current_stream(example.device))
        with torch.inference_mode(), torch.cuda.stream(aside):
            for _ in range(3):  # compiling and choosing kernels must not be recorded
                function(self._inputs)
        torch.cuda.current_stream(example.device).wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.inference_mode(), torch.cuda.graph(self._graph, stream=aside):
            self._outputs = function(self._inputs)

    def __call__(self, batch: Tensor) -> Tensor:
        count = len(batch)
        if count > len(self._inputs):
            return self._function(batch)
        with self._lock:
            self._inputs[:count].copy_(batch)
            self._graph.replay()
            return self._outputs[:count].clone()


def half_precision(device: torch.device) -> str:
    """``bf16`` where the GPU computes in it (since Ampere), else ``fp16``.

    ``torch.cuda.is_bf16_supported`` is also true where bfloat16 is emulated, which is slow.
    """
    return "bf16" if torch.cuda.get_device_capability(device)[0] >= 8 else "fp16"


def cpu_has_bf16() -> bool:
    """Whether this CPU has bfloat16 instructions (AVX512-BF16, AMX); emulation is slow."""
    # PyTorch before 2.9 does not report it.
    ask: Callable[[], dict[str, bool]] = getattr(torch.cpu, "get_capabilities", dict)
    return any(ask().get(name, False) for name in ("avx512_bf16", "amx_bf16"))
