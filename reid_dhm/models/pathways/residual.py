"""The released layout of the ImageNet ResNets."""

from __future__ import annotations

from typing import cast

from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from reid_dhm.models.backbones import Backbone, PathBlock
from reid_dhm.models.pathways.derived import derived_pathway
from reid_dhm.models.pathways.layouts import RESNET_LAYOUT


def resnet_pathway(backbone: Backbone, after: str, rule: str = "light") -> list[PathBlock]:
    """The released layout of a ResNet, under both rules; other forks are derived."""
    layout = RESNET_LAYOUT[backbone.name].get(after)
    if layout is None:
        return derived_pathway(backbone, after, rule)
    path = []
    channels = backbone.stage(after).channels
    for stage, planes, count in layout:
        sources = list(backbone.blocks(stage))
        block_type = cast(type[BasicBlock | Bottleneck], type(sources[0]))
        stride = 2 if _strided(sources[0]) else 1
        for index in range(count):
            block = _residual_block(block_type, channels, planes, stride if index == 0 else 1)
            path.append(PathBlock(block, sources[index], f"{stage}.{index}"))
            channels = planes * block_type.expansion
    return path


def _strided(block: nn.Module) -> bool:
    """Whether the block downsamples; ``last_stride: 1`` changes only its convolutions."""
    return any(max(m.stride) > 1 for m in block.modules() if isinstance(m, nn.Conv2d))


def _residual_block(
    block_type: type[BasicBlock | Bottleneck], channels: int, planes: int, stride: int
) -> nn.Module:
    out = planes * block_type.expansion
    shortcut = None
    if stride != 1 or channels != out:
        shortcut = nn.Sequential(
            nn.Conv2d(channels, out, kernel_size=1, stride=stride, bias=False), nn.BatchNorm2d(out)
        )
    return block_type(channels, planes, stride, shortcut)
