"""How a training step changes the weights: learning rate, optimiser, clipping, averaging."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import nn, optim
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


@dataclass(frozen=True)
class Schedule:
    """Linear warm-up, then multi-step or cosine decay.

    Attributes:
        kind: ``multistep`` or ``cosine``.
        epochs: length of the training.
        milestones: epochs at which ``multistep`` multiplies by ``gamma``.
        gamma: its factor.
        warmup_epochs: epochs in which the factor rises linearly from ``warmup_factor`` to 1.
        warmup_factor: the factor at the start.
        base_rate: the learning rate that the factor multiplies.
    """

    kind: str
    epochs: int
    milestones: Sequence[int] = ()
    gamma: float = 0.1
    warmup_epochs: float = 0.0
    warmup_factor: float = 0.01
    base_rate: float = 1.0

    def learning_rate(self, progress: float) -> float:
        """The learning rate after ``progress`` epochs."""
        return self.base_rate * self.factor(progress)

    def factor(self, progress: float) -> float:
        """The multiple of the base learning rate after ``progress`` epochs."""
        if self.kind == "cosine":
            decay = 0.5 * (1 + math.cos(math.pi * min(progress / self.epochs, 1.0)))
        else:
            decay = self.gamma ** sum(progress >= milestone for milestone in self.milestones)
        if progress < self.warmup_epochs:
            share = progress / self.warmup_epochs
            return decay * (self.warmup_factor + (1 - self.warmup_factor) * share)
        return decay


@dataclass(frozen=True)
class Optimization:
    """How a step changes the weights.

    Attributes:
        optimizer: holds the trained parameters.
        schedule: the learning rate of every step.
        clip_norm: greatest length of the gradient; ``None`` leaves it as it is.
        ema: running average of the weights, evaluated in their place; or ``None``.
        freeze_bn: whether batch normalisation uses its running statistics without changing them.
    """

    optimizer: optim.Optimizer
    schedule: Schedule
    clip_norm: float | None = None
    ema: AveragedModel | None = None
    freeze_bn: bool = False


def moving_average(model: nn.Module, decay: float) -> AveragedModel:
    """An exponential moving average of a model's weights and buffers, beginning as its copy."""
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)


def build_optimizer(
    parameters: Iterable[nn.Parameter],
    name: str,
    lr: float,
    weight_decay: float,
    momentum: float,
    nesterov: bool = True,
) -> optim.Optimizer:
    """``adam``, ``adamw`` or ``sgd`` over the trained parameters.

    ``nesterov`` makes the momentum of ``sgd`` look ahead; without momentum it changes nothing.
    """
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    if name == "sgd":
        ahead = nesterov and momentum > 0
        return optim.SGD(trained, lr, momentum, weight_decay=weight_decay, nesterov=ahead)
    build = {"adam": optim.Adam, "adamw": optim.AdamW}[name]
    return build(trained, lr, weight_decay=weight_decay, fused=True)
