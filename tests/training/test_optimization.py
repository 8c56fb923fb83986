import math

import pytest
import torch
from torch import nn

from reid_dhm.training.optimization import Optimization, Schedule, build_optimizer, moving_average

RECIPE = Schedule("multistep", 120, (40, 70), 0.1, warmup_epochs=10, warmup_factor=0.01)


@pytest.mark.parametrize(
    ("progress", "factor"),
    [
        *((0, 0.01), (1, 0.109), (5, 0.505), (7.5, 0.7525), (9.999, 0.999901)),  # 0.01 + 0.099 e
        *((10, 1), (39.999, 1), (40, 0.1), (69.999, 0.1), (70, 0.01), (119.9, 0.01)),
    ],
)
def test_the_recipe_warms_up_and_steps_down_twice(progress, factor):
    assert RECIPE.factor(progress) == pytest.approx(factor, rel=1e-9)


def test_the_cosine_falls_from_one_to_zero():
    cosine = Schedule("cosine", 12)
    assert [cosine.factor(epoch) for epoch in (0, 4, 6, 8, 12)] == pytest.approx(
        [1, 0.75, 0.5, 0.25, 0]
    )


def test_the_cosine_stays_at_its_end():
    assert Schedule("cosine", 12).factor(13) == 0


def test_the_warm_up_scales_the_cosine():
    cosine = Schedule("cosine", 4, warmup_epochs=2, warmup_factor=0.1)
    assert cosine.factor(0) == pytest.approx(0.1)
    assert cosine.factor(1) == pytest.approx(0.55 * (1 + math.sqrt(0.5)) / 2)
    assert cosine.factor(2) == pytest.approx(0.5)


def test_the_learning_rate_is_the_base_rate_times_the_factor():
    schedule = Schedule("multistep", 3, (1,), 0.1, 0, 0, base_rate=0.02)
    assert [schedule.learning_rate(at) for at in (0, 1)] == pytest.approx([0.02, 0.002])


def test_the_defaults_are_those_of_the_recipe():
    assert Schedule("multistep", 5, (1,)).factor(1) == pytest.approx(0.1)
    assert Schedule("multistep", 5, warmup_epochs=2).factor(0) == pytest.approx(0.01)
    assert Schedule("multistep", 5).learning_rate(0) == 1
    optimizer = build_optimizer(weights(), "sgd", 0.1, 0, 0)
    optimization = Optimization(optimizer, Schedule("multistep", 5))
    assert (optimization.clip_norm, optimization.ema, optimization.freeze_bn) == (None, None, False)


def test_a_rate_may_rise_from_its_warm_up_into_a_milestone():
    schedule = Schedule("multistep", 3, (1,), 0.5, warmup_epochs=2, warmup_factor=0.2)
    assert schedule.factor(1.5) == pytest.approx(0.5 * (0.2 + 0.8 * 0.75))


def test_without_warm_up_the_rate_is_whole_from_the_start():
    assert Schedule("multistep", 3, (1, 2), 0.5).factor(0) == 1
    assert Schedule("multistep", 3, (1, 2), 0.5).factor(2.5) == 0.25


def weights() -> list[nn.Parameter]:
    return [nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2), requires_grad=False)]


@pytest.mark.parametrize(
    ("name", "kind"),
    [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD)],
)
def test_optimizers_train_what_is_not_frozen(name, kind):
    optimizer = build_optimizer(weights(), name, 0.1, 0.01, 0.9)
    group = optimizer.param_groups[0]
    assert type(optimizer) is kind
    assert (group["lr"], group["weight_decay"], len(group["params"])) == (0.1, 0.01, 1)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd_looks_ahead_where_it_has_momentum(momentum):
    group = build_optimizer(weights(), "sgd", 0.1, 0, momentum).param_groups[0]
    assert (group["momentum"], group["nesterov"]) == (momentum, momentum > 0)


GRADIENTS = [10.0, 0.1, -0.2, 0.1, 0.3]  # the second moment falls: its maximum would step less


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_adam_steps_as_its_paper_says(name):
    """Kingma & Ba 2015, algorithm 1; decay in the gradient (Adam) or of the weight (AdamW)."""
    lr, decay, (beta1, beta2), eps = 0.1, 0.05, (0.9, 0.999), 1e-8
    weight = nn.Parameter(torch.tensor([2.0]))
    optimizer = build_optimizer([weight], name, lr, decay, momentum=0.5)
    expected, first, second = 2.0, 0.0, 0.0
    for step, gradient in enumerate(GRADIENTS, start=1):
        weight.grad = torch.tensor([gradient])
        optimizer.step()
        if name == "adam":
            gradient += decay * expected
        else:
            expected -= lr * decay * expected
        first = beta1 * first + (1 - beta1) * gradient
        second = beta2 * second + (1 - beta2) * gradient**2
        corrected = second / (1 - beta2**step)
        expected -= lr * first / (1 - beta1**step) / (math.sqrt(corrected) + eps)
        assert float(weight.detach()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd_steps_as_nesterov_says(momentum):
    """Sutskever et al. 2013 in PyTorch's form: the step looks ahead by the momentum."""
    lr, decay = 0.1, 0.05
    weight = nn.Parameter(torch.tensor([2.0]))
    optimizer = build_optimizer([weight], "sgd", lr, decay, momentum)
    expected, velocity = 2.0, 0.0
    for gradient in GRADIENTS:
        weight.grad = torch.tensor([gradient])
        optimizer.step()
        gradient += decay * expected
        velocity = momentum * velocity + gradient
        expected -= lr * (gradient + momentum * velocity)
        assert float(weight.detach()) == pytest.approx(expected, rel=1e-5)


def test_a_moving_average_covers_weights_and_statistics():
    model = nn.BatchNorm1d(1)
    average = moving_average(model, 0.9)
    expected = None
    for value in (1.0, 3.0, -2.0):
        with torch.no_grad():
            model.weight.fill_(value)
            model.running_mean.fill_(10 * value)
        average.update_parameters(model)
        expected = value if expected is None else 0.9 * expected + 0.1 * value
    assert float(average.module.weight.detach()) == pytest.approx(expected)
    assert float(average.module.running_mean) == pytest.approx(10 * expected)
