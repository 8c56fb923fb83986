"""The PyTorch engine: float32 on the CPU, bfloat16 or float16 on CUDA, channels last on both."""

from __future__ import annotations

import numpy as np
import torch

from reid_dhm.data.augmentation import TestTransform
from reid_dhm.errors import InputError
from reid_dhm.models.card import ModelCard
from reid_dhm.models.reid import ReIDModel


class TorchEngine:
    """Runs a model as it is; see :class:`~reid_dhm.inference.engines.Engine`.

    Args:
        model: in eval mode; it is moved to the device.
        card: its size, normalisation and which embedding is meant.
        device: ``auto`` (CUDA if there is any), ``cpu``, ``cuda`` or ``cuda:N``.
    """

    name = "torch"

    def __init__(self, model: ReIDModel, card: ModelCard, device: str = "auto") -> None:
        self._device = find_device(device)
        self._on_gpu = self._device.type == "cuda"
        self.device = str(self._device)
        self.batch_size = 256 if self._on_gpu else 32
        has_bfloat16 = not self._on_gpu or torch.cuda.is_bf16_supported()
        self._half = torch.bfloat16 if has_bfloat16 else torch.float16
        model.to(self._device).to(memory_format=torch.channels_last)
        self._embed = model.embed_ensemble if card.embedding == "ensemble" else model.embed
        self._transform = TestTransform(card.size, card.mean, card.std)

    @torch.inference_mode()
    def __call__(self, pictures: np.ndarray) -> np.ndarray:
        """(N, H, W, 3) uint8 RGB → (N, D) float32."""
        batch = torch.from_numpy(pictures).to(self._device).permute(0, 3, 1, 2)
        with torch.autocast(self._device.type, enabled=self._on_gpu, dtype=self._half):
            embeddings = self._embed(self._transform(batch))
        return embeddings.float().cpu().numpy()


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
    return torch.device(name)
