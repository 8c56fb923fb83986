"""Gradient agreement: whether the losses of all heads pull the shared layers in one direction.

The DHM paper (Li & Chen, CVPR 2020) argues that plain deep supervision pulls shared layers in
conflicting directions and that mimicking makes the objectives consistent; these figures test it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor

from reid_dhm.errors import InputError
from reid_dhm.models.reid import ReIDModel
from reid_dhm.training.objective import Criterion


def gradient_agreement(
    model: ReIDModel, criterion: Criterion, batches: Iterable[tuple[Tensor, Tensor]]
) -> dict[str, float]:
    """Compare, in every shared stage, the gradient of the main head's loss with each branch's.

    A head's loss is its own part of the objective: ID, metric, and what it mimics. The model's
    mode, weights and running statistics are left as they are.

    Args:
        model: in training mode, frozen batch normalisation included.
        criterion: the objective.
        batches: (images (B, 3, H, W) float, labels (B,)) pairs, at least two.

    Returns:
        ``gradient/cosine/STAGE/BRANCH`` (mean over batches of the cosine, -1 … 1),
        ``gradient/cosine_variance/STAGE/BRANCH`` (its variance over batches), and
        ``gradient/variance/STAGE``: the main gradient's variance over batches, relative to the
        squared length of its mean (also without branches, to compare methods).

    Raises:
        InputError: fewer than two batches.
    """
    buffers = {name: value.clone() for name, value in model.named_buffers()}
    random_state = torch.get_rng_state()
    shared = _shared_stages(model)
    cosines: dict[str, list[float]] = defaultdict(list)
    sums: dict[str, Tensor] = {}
    squares: dict[str, float] = defaultdict(float)
    count = 0
    for images, labels in batches:
        outputs = model(images)
        parts = [criterion.part(outputs, labels, head) for head in range(len(outputs))]
        losses = [torch.stack(list(part.values())).sum() for part in parts]
        main = {name: _gradient(losses[0], model, name) for name in model.backbone.stages}
        for name, gradient in main.items():
            sums[name] = sums.get(name, torch.zeros_like(gradient)) + gradient
            squares[name] += float(gradient.square().sum())
        for branch, (loss, stages) in enumerate(zip(losses[1:], shared, strict=True), start=1):
            for name in stages:
                side = _gradient(loss, model, name)
                cosine = torch.nn.functional.cosine_similarity(main[name], side, dim=0)
                cosines[f"{name}/{branch}"].append(float(cosine))
        count += 1
    if count < 2:
        raise InputError(f"the variance over batches needs two of them, not {count}")
    for name, value in model.named_buffers():
        value.copy_(buffers[name])
    torch.set_rng_state(random_state)

    figures = {}
    for key, values in cosines.items():
        series = torch.tensor(values)
        figures[f"gradient/cosine/{key}"] = float(series.mean())
        figures[f"gradient/cosine_variance/{key}"] = float(series.var(unbiased=True))
    for name, total in sums.items():
        mean_square = float((total / count).square().sum())
        figures[f"gradient/variance/{name}"] = squares[name] / count / mean_square - 1
    return figures


def _shared_stages(model: ReIDModel) -> list[list[str]]:
    names = list(model.backbone.stages)
    return [names[: names.index(branch.after) + 1] for branch in model.side_branches]


def _gradient(loss: Tensor, model: ReIDModel, stage: str) -> Tensor:
    parameters = list(model.backbone.stages[stage].parameters())
    gradients = torch.autograd.grad(loss, parameters, retain_graph=True)
    return torch.cat([gradient.flatten() for gradient in gradients])
