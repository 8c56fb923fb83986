import math

import pytest
import torch
from torch import nn

from reid_dhm.training.optimization import Schedule, build_optimizer

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
