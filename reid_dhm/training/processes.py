"""Training in several processes: the accelerator, and tensors of all processes."""

from __future__ import annotations

from datetime import timedelta

import torch
import torch.distributed as dist
from accelerate import Accelerator, InitProcessGroupKwargs
from torch import Tensor

from reid_dhm.errors import UnsupportedError


def build_accelerator(precision: str = "no", accumulate: int = 1) -> Accelerator:
    """Device, precision, accumulation and processes, from the arguments and the launcher's.

    Args:
        precision: ``no`` (float32), ``bf16`` or ``fp16``.
        accumulate: batches whose gradients are summed before a step.

    Raises:
        UnsupportedError: fp16 without a GPU.
    """
    if precision == "fp16" and not torch.cuda.is_available():
        raise UnsupportedError(
            "train.precision is fp16, which needs a GPU: use bf16 or no on the CPU"
        )
    return Accelerator(
        cpu=not torch.cuda.is_available(),
        # the other processes wait while the first one evaluates
        kwargs_handlers=[InitProcessGroupKwargs(timeout=timedelta(hours=6))],
        mixed_precision=precision,
        gradient_accumulation_steps=accumulate,
    )


def _processes() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


class _AllGather(torch.autograd.Function):
    """Concatenate equal-sized tensors of all processes; gradients flow back to their owners."""

    @staticmethod
    def forward(ctx: object, tensor: Tensor) -> Tensor:
        parts = [torch.empty_like(tensor) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, tensor.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: object, *gradients: Tensor) -> Tensor:
        gradient = gradients[0].contiguous()
        dist.all_reduce(gradient)
        return gradient.chunk(dist.get_world_size())[dist.get_rank()]


def gather(features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, int]:
    """Features and labels of all processes, and the row where this process's own begin."""
    if _processes() == 1:
        return features, labels, 0
    parts = [torch.empty_like(labels) for _ in range(_processes())]
    dist.all_gather(parts, labels)
    return _AllGather.apply(features), torch.cat(parts), dist.get_rank() * len(labels)


def mean_over_processes(count: Tensor) -> Tensor:
    """The mean of an integer count over processes, as float."""
    count = count.float()
    if _processes() > 1:
        dist.all_reduce(count)
        count = count / _processes()
    return count
