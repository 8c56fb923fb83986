"""DenseNets for CIFAR, plain and BC (Huang et al. 2017, section 4.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reid_dhm.models.cifar.network import StagedNetwork, convolution


class DenseLayer(nn.Module):
    """Adds ``growth`` channels to its input; a bottleneck narrows it to four times that first."""

    def __init__(self, channels: int, growth: int, bottleneck: bool) -> None:
        super().__init__()
        self.growth, self.bottleneck = growth, bottleneck
        self.bn1 = nn.BatchNorm2d(channels)
        if bottleneck:
            self.conv1, self.bn2 = convolution(channels, 4 * growth, 1), nn.BatchNorm2d(4 * growth)
        self.conv2 = convolution(4 * growth if bottleneck else channels, growth)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C + growth, H, W)."""
        new = F.relu(self.bn1(x))
        if self.bottleneck:
            new = F.relu(self.bn2(self.conv1(new)))
        return torch.cat([x, self.conv2(new)], dim=1)


class Transition(nn.Module):
    """Halves the resolution; keeps the share ``compression`` of the channels."""

    def __init__(self, channels: int, compression: float) -> None:
        super().__init__()
        self.compression, self.channels = compression, int(channels * compression)
        self.bn, self.conv = nn.BatchNorm2d(channels), convolution(channels, self.channels, 1)
        self.pool = nn.AvgPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → (B, C · compression, H / 2, W / 2)."""
        return self.pool(self.conv(F.relu(self.bn(x))))


def cifar_densenet(depth: int, growth: int, bc: bool) -> StagedNetwork:
    """A DenseNet of three dense blocks; BC narrows before each layer and halves in transitions.

    A stage ends with its transition: in the DHM authors' networks, branches fork behind it.
    """
    count = (depth - 4) // (6 if bc else 3)
    channels = 2 * growth if bc else 16
    stages: dict[str, list[nn.Module]] = {"stem": [convolution(3, channels)]}
    for number in (1, 2, 3):
        blocks: list[nn.Module] = []
        for _ in range(count):
            blocks.append(DenseLayer(channels, growth, bc))
            channels += growth
        if number < 3:
            transition = Transition(channels, 0.5 if bc else 1.0)
            blocks.append(transition)
            channels = transition.channels
        else:
            blocks += [nn.BatchNorm2d(channels), nn.ReLU()]
        stages[f"layer{number}"] = blocks
    return StagedNetwork(stages)
