"""Learning rates as a function of progress, and optimisers by name."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import nn, optim


@dataclass(frozen=True)
class Schedule:
    """Linear warm-up, then multi-step or cosine decay.

    Attributes:
        kind: ``multistep`` or ``cosine``.
        epochs: length of the training.
        milestones: epochs at which ``multistep`` multiplies by ``gamma``.
        gamma: its factor.
        warmup_epochs: over which the factor rises linearly from ``warmup_factor`` to 1.
        warmup_factor: where it starts.
    """

    kind: str
    epochs: int
    milestones: Sequence[int] = ()
    gamma: float = 0.1
    warmup_epochs: float = 0.0
    warmup_factor: float = 0.01

    def factor(self, progress: float) -> float:
        """What the base learning rate is multiplied by after ``progress`` epochs."""
        if self.kind == "cosine":
            decay = 0.5 * (1 + math.cos(math.pi * min(progress / self.epochs, 1.0)))
        else:
            decay = self.gamma ** sum(progress >= milestone for milestone in self.milestones)
        if progress < self.warmup_epochs:
            share = progress / self.warmup_epochs
            return decay * (self.warmup_factor + (1 - self.warmup_factor) * share)
        return decay


def build_optimizer(
    parameters: Iterable[nn.Parameter], name: str, lr: float, weight_decay: float, momentum: float
) -> optim.Optimizer:
    """Adam, AdamW or SGD (Nesterov where there is momentum) over all that trains."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    if name == "sgd":
        nesterov = momentum > 0
        return optim.SGD(trained, lr, momentum, weight_decay=weight_decay, nesterov=nesterov)
    build = {"adam": optim.Adam, "adamw": optim.AdamW}[name]
    return build(trained, lr, weight_decay=weight_decay, fused=True)
