"""What the tests of the models share: a seed, and weights that hide no mistake."""

from collections.abc import Callable

import pytest
import torch
from torch import nn


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def unsettle() -> Callable[[nn.Module], nn.Module]:
    """Give a model's layers values of their own, in place.

    Fresh batch normalisations hold zeros and ones alike, which a mix-up would survive, and a gate
    with a single hidden unit (OSNet-x0.25) may start dead, which a dominant bias prevents.
    """

    @torch.no_grad()
    def apply(model: nn.Module) -> nn.Module:
        for layer in model.modules():
            if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                layer.weight.uniform_(0.5, 1.5)
                layer.bias.uniform_(-0.1, 0.1)
                layer.running_mean.uniform_(-0.1, 0.1)
                layer.running_var.uniform_(0.5, 1.5)
            elif isinstance(layer, nn.Conv2d) and layer.bias is not None:
                layer.weight.mul_(0.01)
                layer.bias.uniform_(0.5, 1.0)
        return model

    return apply
