"""Losses of one head: identities, triplets and mimicking; metric losses by name.

A loss takes embeddings or logits and labels and nothing else;
:class:`~reid_dhm.training.objective.Criterion` sums them over all heads.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from reid_dhm.errors import InputError
from reid_dhm.extras import require
from reid_dhm.training.processes import gather, mean_over_processes

MetricLoss = Callable[[Tensor, Tensor], Tensor]
"""(B, D) features, (B,) labels → scalar."""


def at_least_float32(values: Tensor) -> Tensor:
    """Half precision as float32; float64 stays, so that the objective can be checked in it."""
    return values if values.dtype == torch.float64 else values.float()


def id_loss(logits: Tensor, labels: Tensor, smoothing: float = 0.1) -> Tensor:
    """Cross-entropy with label smoothing (Szegedy et al. 2016): (B, C), (B,) → scalar."""
    return F.cross_entropy(at_least_float32(logits), labels, label_smoothing=smoothing)


def batch_hard_triplet(features: Tensor, labels: Tensor, margin: float = 0.3) -> Tensor:
    """Batch-hard triplet loss (Hermans et al. 2017, equation 5), Euclidean, averaged over anchors.

    Under several processes every anchor is compared with the images of all of them, and the
    mean over processes is the loss of the whole global batch. Anchors without another image of
    their person, or without another person, are left out; a batch of only such anchors costs 0.

    Args:
        features: (B, D), before the neck and not normalised.
        labels: (B,) int64.
        margin: least difference between the distance to the nearest image of another person and
            to the farthest image of the same person.
    """
    anchors = at_least_float32(features)
    everyone, all_labels, first = gather(anchors, labels)
    distance = torch.cdist(anchors, everyone, compute_mode="donot_use_mm_for_euclid_dist")
    same = labels[:, None] == all_labels[None, :]
    itself = torch.arange(len(labels), device=labels.device)
    other = same.clone()
    other[itself, itself + first] = False
    farthest = distance.masked_fill(~other, -torch.inf).amax(dim=1)
    nearest = distance.masked_fill(same, torch.inf).amin(dim=1)
    counted = other.any(dim=1) & ~same.all(dim=1)
    hinge = F.relu(torch.where(counted, farthest - nearest, -margin) + margin)
    return hinge.sum() / mean_over_processes(counted.sum()).clamp(min=1)


def mimicking_loss(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """T² · KL(teacher ‖ student): DHM's mimicking term, summed over classes, a mean over images.

    The DHM authors' code adds 1e-8 to every probability of both sides and divides by 1 + C · 1e-8;
    here the divergence is exact. At 1,000 classes and normal logits of deviation 1 the two differ
    by about 3e-5 of the term and 5e-6 of its gradient's length, and by more the surer the heads
    are: at deviation 3 by 3e-3 of the term.

    Args:
        student: (B, C) logits that receive the gradient.
        teacher: (B, C) logits that are imitated; detached here.
        temperature: softens both sides; T² keeps the gradient's size.
    """
    log_student = F.log_softmax(at_least_float32(student) / temperature, dim=1)
    log_teacher = F.log_softmax(at_least_float32(teacher.detach()) / temperature, dim=1)
    divergence = F.kl_div(log_student, log_teacher, reduction="batchmean", log_target=True)
    return temperature**2 * divergence


def similarity_loss(student: Tensor, teacher: Tensor, temperature: float = 0.1) -> Tensor:
    """KL of the batch's similarity distributions, teacher ‖ student; a mean over images.

    For each image, the cosines to the others of the batch, divided by the temperature, make a
    distribution over them by softmax (as in Passalis & Tefas 2018 and CompRess, Koohpayegani et
    al. 2020). It says who resembles whom, also of people without a class of their own, and needs
    no common dimension.

    Args:
        student: (B, D) embeddings that receive the gradient, B ≥ 2.
        teacher: (B, E) embeddings that are imitated; detached here.
        temperature: small values look at the nearest images alone.
    """
    log_student = F.log_softmax(_similarities(student) / temperature, dim=1)
    log_teacher = F.log_softmax(_similarities(teacher.detach()) / temperature, dim=1)
    return F.kl_div(log_student, log_teacher, reduction="batchmean", log_target=True)


def _similarities(embeddings: Tensor) -> Tensor:
    """(B, D) → (B, B - 1) cosines of every image to the others."""
    unit = F.normalize(at_least_float32(embeddings))
    count = len(unit)
    return (unit @ unit.T).flatten()[1:].view(count - 1, count + 1)[:, :-1].reshape(count, -1)


def embedding_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """1 - cosine to the teacher's embedding, a mean over images: (B, D), (B, D) → scalar."""
    taught = at_least_float32(teacher.detach())
    return 1 - F.cosine_similarity(at_least_float32(student), taught, dim=1).mean()


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
        margin: of ``triplet``, 0.3 by default.

    Raises:
        InputError: an unknown name, or a margin for another loss than ``triplet``.
        UnsupportedError: pytorch-metric-learning is not installed.
    """
    if name not in METRIC_LOSSES:
        raise InputError(f"loss.metric is {name!r}: use one of {', '.join(METRIC_LOSSES)}")
    if name in LIBRARY_LOSSES:
        require("metric", f"loss.metric: {name}", "pytorch_metric_learning")
    if margin is None:
        return METRIC_LOSSES[name]
    if name != "triplet":
        raise InputError(f"loss.margin is {margin}, but {name} has no margin: leave it out")
    return partial(batch_hard_triplet, margin=margin)
