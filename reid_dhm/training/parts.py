"""What the training loop is put together from: its inputs' types, its accelerator."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import Protocol

import torch
from accelerate import Accelerator, InitProcessGroupKwargs
from torch import Tensor, nn

from reid_dhm.config import TrainConfig
from reid_dhm.data.loading import Batch
from reid_dhm.errors import InputError
from reid_dhm.models.reid import ReIDModel

Augment = Callable[[Tensor, torch.Generator], Tensor]
Evaluate = Callable[[ReIDModel], dict[str, float]]
Diagnose = Callable[[ReIDModel, int], dict[str, float]]
Progress = Callable[[int, int, int, dict[str, float]], None]
"""Called after every step with the epoch, steps done in it, steps in it, and running figures."""
Report = Callable[[dict[str, float]], None]
"""Called with every epoch's record."""


class Loader(Protocol):
    """Where batches come from (:mod:`reid_dhm.data.loading`)."""

    def batches(self, index_batches: Iterable[Tensor]) -> Iterator[Batch]:
        """One batch for every tensor of rows."""


class Sampler(Protocol):
    """Which images make a batch (:mod:`reid_dhm.data.samplers`)."""

    def __len__(self) -> int: ...

    def epoch(self, epoch: int) -> list[Tensor]:
        """Index batches of one epoch."""


def build_accelerator(settings: TrainConfig) -> Accelerator:
    """Device, precision, accumulation and processes, from the settings and the launcher's.

    Raises:
        InputError: fp16 without a GPU.
    """
    if settings.precision == "fp16" and not torch.cuda.is_available():
        raise InputError("train.precision is fp16, which needs a GPU: use bf16 or no on the CPU")
    return Accelerator(
        cpu=not torch.cuda.is_available(),
        # the other processes wait while the first one evaluates
        kwargs_handlers=[InitProcessGroupKwargs(timeout=timedelta(hours=6))],
        mixed_precision=settings.precision,
        gradient_accumulation_steps=settings.accumulate,
    )


def freeze_batch_norm(model: nn.Module) -> None:
    """Put every batch normalisation into eval mode: running statistics are used, not changed."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
