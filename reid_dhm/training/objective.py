"""The DHM objective: the losses of all heads and their mimicking, summed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from reid_dhm.errors import InputError
from reid_dhm.models.heads import ReIDOutput
from reid_dhm.training.losses import MetricLoss, batch_hard_triplet, id_loss, mimicking_loss

Objective = Callable[[Sequence[ReIDOutput], Tensor, torch.Generator | None], dict[str, Tensor]]
"""Outputs of all heads, (B,) labels and random draws → weighted terms, ``total`` among them."""


@dataclass(frozen=True)
class Criterion:
    """The DHM objective over all heads::

        L = Σ_h w_h [ ID(z_h, y) + λ · Metric(f_h, y) ] + α Σ_i Σ_{j≠i} T² KL( sg(z_j) ‖ z_i )

    Attributes:
        alpha: weight of mimicking; 0 is deep supervision (DSL).
        temperature: T of the mimicking terms.
        smoothing: label smoothing of the ID loss.
        metric: loss on features before the neck, or ``None`` for none.
        metric_weight: λ.
        head_weights: w_h, main head first; empty for 1 each.
        mimic_drop: probability of leaving each mimicking term out at each step.
    """

    alpha: float = 1.0
    temperature: float = 1.0
    smoothing: float = 0.1
    metric: MetricLoss | None = batch_hard_triplet
    metric_weight: float = 1.0
    head_weights: tuple[float, ...] = ()
    mimic_drop: float = 0.0

    def part(
        self,
        outputs: Sequence[ReIDOutput],
        labels: Tensor,
        head: int,
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """One head's part of the objective; as teachers are detached, the parts add up to it.

        Args:
            outputs: of all heads, the main one first.
            labels: (B,) int64.
            head: index of the head that learns.
            generator: draws the mimicking terms that are left out.

        Returns:
            Weighted scalars: ``id``, ``metric``, ``mimic``.

        Raises:
            InputError: there are head weights, but not one per head.
        """
        if self.head_weights and len(self.head_weights) != len(outputs):
            raise InputError(
                f"loss.head_weights has {len(self.head_weights)} values for {len(outputs)} heads: "
                "give one per head, the main one first, or none"
            )
        weight = self.head_weights[head] if self.head_weights else 1.0
        own = outputs[head]
        zero = torch.zeros((), device=labels.device)
        metric = self.metric(own.features, labels) if self.metric is not None else zero
        mimic = zero
        for teacher in range(len(outputs)):
            if self.alpha == 0 or teacher == head or self._dropped(generator):
                continue
            mimic = mimic + mimicking_loss(own.logits, outputs[teacher].logits, self.temperature)
        return {
            "id": weight * id_loss(own.logits, labels, self.smoothing),
            "metric": weight * self.metric_weight * metric,
            "mimic": self.alpha * mimic,
        }

    def __call__(
        self,
        outputs: Sequence[ReIDOutput],
        labels: Tensor,
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """The whole objective: its terms summed over heads, and their sum as ``total``.

        Arguments and errors as for :meth:`part`.
        """
        parts = [self.part(outputs, labels, head, generator) for head in range(len(outputs))]
        terms = {name: torch.stack([part[name] for part in parts]).sum() for name in parts[0]}
        terms["total"] = torch.stack(list(terms.values())).sum()
        return terms

    def _dropped(self, generator: torch.Generator | None) -> bool:
        return self.mimic_drop > 0 and bool(torch.rand((), generator=generator) < self.mimic_drop)
