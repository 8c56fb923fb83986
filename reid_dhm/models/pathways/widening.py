"""Copies of blocks with several times the channels."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

_Norm = nn.modules.batchnorm._NormBase
_WIDENED = (nn.Conv2d, nn.Linear, _Norm)


@torch.no_grad()
def widened(blocks: Sequence[nn.Module], channels: int, side: int, factor: int) -> list[nn.Module]:
    """Copies whose layers have ``factor`` times the output channels, with random weights.

    Every layer takes as many channels as reach it: those that read the input of the first block
    keep its width. Depthwise convolutions stay depthwise, other groups keep their number.

    Args:
        blocks: a stage, run in order.
        channels: of the first block's input, which is not widened.
        side: height and width of that input while the widths are found.
        factor: 2 or more.

    Raises:
        RuntimeError: shapes disagree, as where a block adds its unwidened input to its output.
    """
    path = nn.Sequential(*copy.deepcopy(list(blocks))).eval()
    for module in list(path.modules()):
        for name, layer in list(module.named_children()):
            if isinstance(layer, _WIDENED):
                setattr(module, name, _Widening(layer, factor))
    path(torch.zeros(1, channels, side, side))
    for module in list(path.modules()):
        for name, layer in list(module.named_children()):
            if isinstance(layer, _Widening):
                setattr(module, name, layer.made)
    return list(path.train())


class _Widening(nn.Module):
    """Stands in for a layer until an input shows how many channels reach it."""

    def __init__(self, layer: nn.Module, factor: int) -> None:
        super().__init__()
        self.layer, self.factor = layer, factor
        self.made: nn.Module | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.made is None:
            self.made = _wider(self.layer, x.shape[1], self.factor).eval()
        return cast(Tensor, self.made(x))


def _wider(layer: nn.Module, channels: int, factor: int) -> nn.Module:
    if isinstance(layer, nn.Conv2d):
        depthwise = layer.groups == layer.in_channels > 1
        return nn.Conv2d(
            channels,
            factor * layer.out_channels,
            cast(tuple[int, int], layer.kernel_size),
            cast(tuple[int, int], layer.stride),
            cast(tuple[int, int], layer.padding),
            cast(tuple[int, int], layer.dilation),
            channels if depthwise else layer.groups,
            layer.bias is not None,
            layer.padding_mode,
        )
    if isinstance(layer, nn.Linear):
        return nn.Linear(channels, factor * layer.out_features, layer.bias is not None)
    norm = cast(_Norm, layer)
    return type(norm)(channels, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
