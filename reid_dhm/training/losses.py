"""What a head is trained on: identities, triplets and mimicking, summed over all heads.

Every loss takes embeddings or logits and labels and nothing else; :class:`Criterion` adds them up
as the DHM objective.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Protocol

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F

from reid_dhm.errors import InputError
from reid_dhm.models.heads import ReIDOutput

MetricLoss = Callable[[Tensor, Tensor], Tensor]
"""(B, D) features, (B,) labels → scalar."""


def id_loss(logits: Tensor, labels: Tensor, smoothing: float = 0.1) -> Tensor:
    """Cross-entropy with label smoothing (Szegedy et al. 2016): (B, C), (B,) → scalar."""
    return F.cross_entropy(logits.float(), labels, label_smoothing=smoothing)


def batch_hard_triplet(features: Tensor, labels: Tensor, margin: float = 0.3) -> Tensor:
    """Batch-hard triplet loss (Hermans et al. 2017, equation 5), Euclidean, averaged over anchors.

    Under several processes every anchor is compared with the images of all of them, and the
    mean over processes is the loss of the whole global batch. Anchors without another image of
    their person, or without another person, are left out; a batch of only such anchors costs 0.

    Args:
        features: (B, D), before the neck and not normalised.
        labels: (B,) int64.
        margin: by how much the nearest stranger must be farther than the farthest own image.
    """
    anchors = features.float()
    everyone, all_labels, first = _gather(anchors, labels)
    distance = torch.cdist(anchors, everyone, compute_mode="donot_use_mm_for_euclid_dist")
    same = labels[:, None] == all_labels[None, :]
    itself = torch.arange(len(labels), device=labels.device)
    other = same.clone()
    other[itself, itself + first] = False
    farthest = distance.masked_fill(~other, -torch.inf).amax(dim=1)
    nearest = distance.masked_fill(same, torch.inf).amin(dim=1)
    counted = other.any(dim=1) & ~same.all(dim=1)
    hinge = F.relu(torch.where(counted, farthest - nearest, -margin) + margin)
    return hinge.sum() / _mean_over_processes(counted.sum()).clamp(min=1)


def mimicking_loss(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """T² · KL(teacher ‖ student): DHM's mimicking term, summed over classes, a mean over images.

    Args:
        student: (B, C) logits that receive the gradient.
        teacher: (B, C) logits that are imitated; detached here.
        temperature: softens both sides; T² keeps the gradient's size.
    """
    log_student = F.log_softmax(student.float() / temperature, dim=1)
    log_teacher = F.log_softmax(teacher.detach().float() / temperature, dim=1)
    divergence = F.kl_div(log_student, log_teacher, reduction="batchmean", log_target=True)
    return temperature**2 * divergence


LIBRARY_LOSSES = {
    "circle": "CircleLoss",
    "multi_similarity": "MultiSimilarityLoss",
    "supcon": "SupConLoss",
}


def _library_loss(name: str, features: Tensor, labels: Tensor) -> Tensor:
    """A loss of pytorch-metric-learning with its own defaults, mined within a process."""
    from pytorch_metric_learning import losses

    loss: Tensor = getattr(losses, name)()(features.float(), labels)
    return loss


METRIC_LOSSES: dict[str, MetricLoss | None] = {
    "triplet": batch_hard_triplet,
    **{name: partial(_library_loss, loss) for name, loss in LIBRARY_LOSSES.items()},
    "none": None,
}


def build_metric_loss(name: str, margin: float | None = None) -> MetricLoss | None:
    """A metric loss by name.

    Args:
        name: a key of :data:`METRIC_LOSSES`; those of :data:`LIBRARY_LOSSES` are
            pytorch-metric-learning's.
        margin: of ``triplet``, 0.3 unless given.

    Raises:
        InputError: unknown name, a margin for another loss than the triplet's, or the library is
            missing.
    """
    if name not in METRIC_LOSSES:
        raise InputError(f"loss.metric is {name!r}: use one of {', '.join(METRIC_LOSSES)}")
    if name in LIBRARY_LOSSES and find_spec("pytorch_metric_learning") is None:
        raise InputError(
            f"loss.metric: {name} needs pytorch-metric-learning: pip install 'reid-dhm[metric]'"
        )
    if margin is None:
        return METRIC_LOSSES[name]
    if name != "triplet":
        raise InputError(f"loss.margin is {margin}, but {name} takes none: leave it out")
    return partial(batch_hard_triplet, margin=margin)


class Objective(Protocol):
    """What the training loop minimises."""

    def __call__(
        self,
        outputs: Sequence[ReIDOutput],
        labels: Tensor,
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """Return the terms by name, ``total`` among them."""


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
        """One head's own part of the objective; with teachers detached, the parts add up to it.

        Args:
            outputs: what every head says, the main one first.
            labels: (B,) int64.
            head: which one learns here.
            generator: draws which mimicking terms are left out.

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


def _gather(features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, int]:
    """Features and labels of all processes, and the row where this process's own begin."""
    if _processes() == 1:
        return features, labels, 0
    parts = [torch.empty_like(labels) for _ in range(_processes())]
    dist.all_gather(parts, labels)
    return _AllGather.apply(features), torch.cat(parts), dist.get_rank() * len(labels)


def _mean_over_processes(count: Tensor) -> Tensor:
    """The mean of an integer count over processes, as float."""
    count = count.float()
    if _processes() > 1:
        dist.all_reduce(count)
        count = count / _processes()
    return count
