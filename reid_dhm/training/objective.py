"""The DHM objective: the losses of all heads and their mimicking, summed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import permutations

import torch
from torch import Tensor

from reid_dhm.errors import InputError
from reid_dhm.models.heads import ReIDOutput
from reid_dhm.training.losses import (
    MetricLoss,
    batch_hard_triplet,
    id_loss,
    mimicking_loss,
    similarity_loss,
)

Objective = Callable[[Sequence[ReIDOutput], Tensor, torch.Generator | None], dict[str, Tensor]]
"""Outputs of all heads, (B,) labels and random draws → weighted terms, ``total`` among them."""


@dataclass(frozen=True)
class Criterion:
    """The DHM objective over all heads::

        L = Σ_h w_h [ ID(z_h, y) + λ · Metric(f_h, y) ] + α Σ_i Σ_{j≠i} T² KL( sg(z_j) ‖ z_i )
            + β Σ_i Σ_{j≠i} Similarity( sg(e_j), e_i )

    A pair (i, j), in which head i learns from head j, is one mimicking term. In the DHM authors'
    code the objective with all terms equals that of the earlier DKS (Sun et al. 2019); a random
    share of the terms, which makes it dynamic, stands there commented out.

    Attributes:
        alpha: weight of mimicking; 0 is deep supervision (DSL).
        temperature: T of the mimicking terms.
        smoothing: label smoothing of the ID loss.
        metric: loss on features before the neck, or ``None`` for none.
        metric_weight: λ.
        head_weights: w_h, main head first; empty for 1 each.
        mimic_drop: probability of leaving each mimicking term out at each step.
        mimic_terms: ``all``; or ``random``, the authors' variant: of n terms, ⌊U·n⌋ are drawn with
            replacement and left out, U uniform in [0, 1) and drawn anew at each step.
        similarity: β, weight of mimicking the batch's similarities of embeddings.
        similarity_temperature: of those similarities.
    """

    alpha: float = 1.0
    temperature: float = 1.0
    smoothing: float = 0.1
    metric: MetricLoss | None = batch_hard_triplet
    metric_weight: float = 1.0
    head_weights: tuple[float, ...] = ()
    mimic_drop: float = 0.0
    mimic_terms: str = "all"
    similarity: float = 0.0
    similarity_temperature: float = 0.1

    def part(
        self,
        outputs: Sequence[ReIDOutput],
        labels: Tensor,
        head: int,
        left_out: Collection[tuple[int, int]] = (),
    ) -> dict[str, Tensor]:
        """One head's part of the objective; as teachers are detached, the parts add up to it.

        Args:
            outputs: of all heads, the main one first.
            labels: (B,) int64.
            head: index of the head that learns.
            left_out: mimicking terms (student, teacher) that do not count.

        Returns:
            Weighted scalars: ``id``, ``metric``, ``mimic``, and ``similarity`` where it counts.

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
        mimic = similarity = zero
        for teacher, other in enumerate(outputs):
            if teacher == head or (head, teacher) in left_out:
                continue
            if self.alpha:
                mimic = mimic + mimicking_loss(own.logits, other.logits, self.temperature)
            if self.similarity:
                similarity = similarity + similarity_loss(
                    own.embeddings, other.embeddings, self.similarity_temperature
                )
        terms = {
            "id": weight * id_loss(own.logits, labels, self.smoothing),
            "metric": weight * self.metric_weight * metric,
            "mimic": self.alpha * mimic,
        }
        return {**terms, "similarity": self.similarity * similarity} if self.similarity else terms

    def __call__(
        self,
        outputs: Sequence[ReIDOutput],
        labels: Tensor,
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """The whole objective: its terms summed over heads, and their sum as ``total``.

        ``generator`` draws the mimicking terms that are left out; otherwise as :meth:`part`.
        """
        left_out = self._left_out(len(outputs), generator)
        parts = [self.part(outputs, labels, head, left_out) for head in range(len(outputs))]
        terms = {name: torch.stack([part[name] for part in parts]).sum() for name in parts[0]}
        terms["total"] = torch.stack(list(terms.values())).sum()
        return terms

    def _left_out(self, heads: int, generator: torch.Generator | None) -> set[tuple[int, int]]:
        """The mimicking terms (student, teacher) that do not count at this step."""
        if self.alpha == 0 and self.similarity == 0:
            return set()
        terms = list(permutations(range(heads), 2))
        if self.mimic_terms == "random":
            share = torch.rand((), dtype=torch.float64, generator=generator)
            count = int(share * len(terms))
            drawn = torch.randint(max(1, len(terms)), (count,), generator=generator)
            return {terms[row] for row in drawn.tolist()}
        if self.mimic_drop == 0:
            return set()
        return {term for term in terms if torch.rand((), generator=generator) < self.mimic_drop}
