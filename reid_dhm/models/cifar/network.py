"""A network as stages of blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from torch import Tensor, nn


def convolution(channels: int, out: int, kernel: int = 3, stride: int = 1) -> nn.Conv2d:
    """A padded convolution without bias."""
    return nn.Conv2d(channels, out, kernel, stride, kernel // 2, bias=False)


class StagedNetwork(nn.Module):
    """Stages of blocks, run in order; ``forward`` gives the last feature map.

    Args:
        stages: name → blocks.
    """

    def __init__(self, stages: Mapping[str, Sequence[nn.Module]]) -> None:
        super().__init__()
        for name, blocks in stages.items():
            self.add_module(name, nn.Sequential(*blocks))
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    @property
    def stages(self) -> dict[str, list[nn.Module]]:
        """Name → blocks."""
        return {name: list(cast(nn.Sequential, stage)) for name, stage in self.named_children()}

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) → (B, C, H / 4, W / 4)."""
        for stage in self.children():
            x = stage(x)
        return x
