import copy
import statistics

import pytest
import torch
from torch import Tensor

from reid_dhm.data.augmentation import TestTransform
from reid_dhm.training.diagnostics import gradient_agreement
from reid_dhm.training.loop import freeze_batch_norm
from reid_dhm.training.losses import batch_hard_triplet, id_loss, mimicking_loss
from reid_dhm.training.objective import Criterion

STAGES = ["first", "middle", "late"]


@pytest.fixture
def batches(images) -> list[tuple[Tensor, Tensor]]:
    """Three batches of three people."""
    inputs = TestTransform((32, 16))(images.images)
    rows = [torch.tensor([4 * p + i for p in people for i in (0, 1)]) for people in people_of()]
    return [(inputs[chosen], images.labels[chosen]) for chosen in rows]


def people_of() -> list[tuple[int, ...]]:
    return [(0, 1, 2), (3, 4, 5), (0, 2, 4)]


def gradient(loss: Tensor, model, stage: str) -> Tensor:
    model.zero_grad()
    loss.backward(retain_graph=True)
    parameters = model.backbone.stages[stage].parameters()
    return torch.cat([parameter.grad.flatten().double() for parameter in parameters])


def test_figures_are_those_of_separate_backward_passes(model_of, batches):
    model = model_of(after=("first", "middle"))
    figures = gradient_agreement(model, Criterion(alpha=0.5, temperature=2.0), batches)
    pairs = {("first", 1), ("first", 2), ("middle", 2)}
    cosines: dict[tuple[str, int], list[float]] = {pair: [] for pair in pairs}
    mains: dict[str, list[Tensor]] = {stage: [] for stage in STAGES}
    for inputs, labels in batches:
        twin = copy.deepcopy(model)
        outputs = twin(inputs)
        losses = []
        for i, own in enumerate(outputs):
            loss = id_loss(own.logits, labels, 0.1) + batch_hard_triplet(own.features, labels)
            for j, other in enumerate(outputs):
                if j != i:
                    loss = loss + 0.5 * mimicking_loss(own.logits, other.logits, 2.0)
            losses.append(loss)
        for stage in STAGES:
            mains[stage].append(gradient(losses[0], twin, stage))
        for stage, branch in pairs:
            side, main = gradient(losses[branch], twin, stage), mains[stage][-1]
            cosines[stage, branch].append(float(main @ side / main.norm() / side.norm()))
    expected = {}
    for (stage, branch), values in cosines.items():
        expected[f"gradient/cosine/{stage}/{branch}"] = statistics.mean(values)
        expected[f"gradient/cosine_variance/{stage}/{branch}"] = statistics.variance(values)
    for stage, gradients in mains.items():
        mean = torch.stack(gradients).mean(dim=0)
        spread = torch.stack([(g - mean).square().sum() for g in gradients]).mean()
        expected[f"gradient/variance/{stage}"] = float(spread / mean.square().sum())
    assert figures == pytest.approx(expected, rel=1e-3, abs=1e-6)


def test_a_branch_that_is_the_trunk_agrees_with_it(model_of, batches):
    model = model_of(after=("middle",))
    branch = model.side_branches[0]
    branch.path, branch.head = model.backbone.stages["late"], model.head
    figures = gradient_agreement(model, Criterion(alpha=0), batches)
    for stage in ("first", "middle"):
        assert figures[f"gradient/cosine/{stage}/1"] == pytest.approx(1, abs=1e-5)
        assert figures[f"gradient/cosine_variance/{stage}/1"] == pytest.approx(0, abs=1e-9)


def test_a_baseline_has_the_variance_of_its_own_gradient_alone(model_of, batches):
    figures = gradient_agreement(model_of(), Criterion(), batches)
    assert list(figures) == [f"gradient/variance/{stage}" for stage in STAGES]
    assert all(value > 0 for value in figures.values())


def test_equal_batches_have_no_variance(model_of, batches):
    figures = gradient_agreement(model_of(), Criterion(), [batches[0]] * 3)
    assert figures == pytest.approx({f"gradient/variance/{s}": 0 for s in STAGES}, abs=1e-5)


def test_the_model_and_the_random_stream_are_left_as_they_were(model_of, batches):
    model = model_of(after=("first",)).train()
    freeze_batch_norm(model.head)
    next(model.parameters()).grad = torch.ones_like(next(model.parameters()))
    before = copy.deepcopy(model.state_dict())
    modes = [module.training for module in model.modules()]
    grads = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    state = torch.get_rng_state()
    gradient_agreement(model, Criterion(), batches)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [module.training for module in model.modules()] == modes
    for parameter, grad in zip(model.parameters(), grads, strict=True):
        assert (parameter.grad is None) == (grad is None)
        assert grad is None or torch.equal(parameter.grad, grad)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_frozen_normalisation_is_measured_frozen(model_of, batches):
    training, frozen = model_of().train(), model_of().train()
    freeze_batch_norm(frozen)
    first, second = (gradient_agreement(m, Criterion(), batches) for m in (training, frozen))
    assert first != second
    assert second == gradient_agreement(frozen.eval(), Criterion(), batches)
