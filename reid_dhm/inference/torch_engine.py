"""The PyTorch engine: channels last, float32 on the CPU, bfloat16 or float16 on CUDA by default."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from reid_dhm.data.augmentation import TestTransform
from reid_dhm.errors import InputError
from reid_dhm.models.card import ModelCard
from reid_dhm.models.reid import ReIDModel

PRECISIONS = ("auto", "float32")


class TorchEngine:
    """Runs a model as it is; see :class:`~reid_dhm.inference.engines.Engine`.

    Args:
        model: in eval mode; it is moved to the device.
        card: its size, normalisation and which embedding is meant.
        device: ``auto`` (CUDA if there is any), ``cpu``, ``cuda`` or ``cuda:N``.
        precision: ``auto`` (16 bits on CUDA, float32 on the CPU) or ``float32``, without TF32.
    """

    name = "torch"

    def __init__(
        self, model: ReIDModel, card: ModelCard, device: str = "auto", precision: str = "auto"
    ) -> None:
        if precision not in PRECISIONS:
            raise InputError(f"precision {precision!r} is unknown: use {' or '.join(PRECISIONS)}")
        self._device = find_device(device)
        on_gpu = self._device.type == "cuda"
        self.device = str(self._device)
        self.batch_size = 256 if on_gpu else 32
        self._half = half_precision(self._device) if on_gpu and precision == "auto" else None
        model.to(self._device).to(memory_format=torch.channels_last)
        self._embed = model.embed_ensemble if card.embedding == "ensemble" else model.embed
        self._transform = TestTransform(card.size, card.mean, card.std)

    @torch.inference_mode()
    def __call__(self, pictures: np.ndarray) -> np.ndarray:
        """(N, H, W, 3) uint8 RGB → (N, D) float32."""
        batch = torch.from_numpy(pictures).to(self._device).permute(0, 3, 1, 2)
        if self._half is None:
            with _full_float32():
                embeddings = self._embed(self._transform(batch))
        else:
            with torch.autocast(self._device.type, dtype=self._half):
                embeddings = self._embed(self._transform(batch))
        return embeddings.float().cpu().numpy()


def half_precision(device: torch.device) -> torch.dtype:
    """bfloat16 where the GPU computes in it (from Ampere on), else float16.

    ``torch.cuda.is_bf16_supported`` also says yes where bfloat16 is emulated, which is slow.
    """
    ampere = torch.cuda.get_device_capability(device)[0] >= 8
    return torch.bfloat16 if ampere else torch.float16


@contextmanager
def _full_float32() -> Iterator[None]:
    """Convolutions and matrix products in IEEE float32, whatever was asked for elsewhere."""
    cudnn = torch.backends.cudnn
    before = cudnn.allow_tf32, torch.get_float32_matmul_precision()
    try:
        cudnn.allow_tf32 = False
        torch.set_float32_matmul_precision("highest")
        yield
    finally:
        cudnn.allow_tf32 = before[0]
        torch.set_float32_matmul_precision(before[1])


def find_device(name: str) -> torch.device:
    """The device ``name``; ``auto`` is the first GPU if there is one.

    Raises:
        InputError: an unknown name, or a GPU that is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdigit()):
        raise InputError(f"device {name!r} is unknown: use auto, cpu, cuda or cuda:N")
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise InputError(f"device {name} is not there: PyTorch sees {count} GPUs; use auto or cpu")
    return torch.device(name if kind == "cuda" else "cpu")  # there is one CPU, cpu:0 is it
