"""The blocks of side branches: the reference layouts of the ResNets, and derived ones.

A pathway runs from the output of a stage to the end of the network, without its head.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import groupby
from typing import cast

from torch import nn
from torchvision.models.densenet import _DenseBlock, _Transition
from torchvision.models.resnet import BasicBlock, Bottleneck

from reid_dhm.models.backbones import Backbone, PathBlock, remove_stride

# (stage mirrored, planes, blocks) per branch, keyed by the stage it forks after: the layout of
# the DHM authors' released ImageNet models (Li & Chen, CVPR 2020).
RESNET_LAYOUT: dict[str, dict[str, tuple[tuple[str, int, int], ...]]] = {
    name: {
        "layer2": (("layer3", 256, layer3), ("layer4", 512, 2)),
        "layer3": (("layer4", 1024, wide),),
    }
    for name, layer3, wide in (
        ("resnet18", 1, 2),
        ("resnet34", 3, 3),
        ("resnet50", 3, 3),
        ("resnet101", 12, 3),
        ("resnet152", 18, 3),
    )
}


def derived_pathway(backbone: Backbone, after: str) -> list[PathBlock]:
    """The backbone's own later stages, made shallower.

    Blocks that change the shape stay; of every run of shape-preserving blocks the first half
    (rounded down) stays, so that shapes always agree and the transitions are included.
    """
    path = []
    for name in backbone.stages_after(after):
        blocks = list(backbone.blocks(name))
        for index in _kept(backbone.stage(name).preserving):
            path.append(PathBlock(copy.deepcopy(blocks[index]), blocks[index], f"{name}.{index}"))
    return path


def _kept(preserving: tuple[bool, ...]) -> Iterator[int]:
    for droppable, run in groupby(range(len(preserving)), key=preserving.__getitem__):
        indices = list(run)
        yield from indices[: len(indices) // 2] if droppable else indices


def resnet_pathway(backbone: Backbone, after: str) -> list[PathBlock]:
    """The reference layout of a ResNet; other forks are derived."""
    layout = RESNET_LAYOUT[backbone.name].get(after)
    if layout is None:
        return derived_pathway(backbone, after)
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


def densenet_pathway(backbone: Backbone, after: str) -> list[PathBlock]:
    """Dense blocks of half the layers; the widths of all that follows shrink with them."""
    path = []
    channels = backbone.stage(after).channels
    for name in backbone.stages_after(after):
        for index, source in enumerate(backbone.blocks(name)):
            block: nn.Module
            if isinstance(source, _Transition):
                block = _Transition(channels, channels // 2)
                if isinstance(source.pool, nn.Identity):
                    remove_stride(block)
                channels //= 2
            elif isinstance(source, _DenseBlock):
                half = _half_dense_block(source, channels)
                channels += len(half) * _growth(source)
                block = half
            elif isinstance(source, nn.BatchNorm2d):
                block = nn.BatchNorm2d(channels)
            else:
                block = copy.deepcopy(source)
            path.append(PathBlock(block, source, f"{name}.{index}"))
    return path


def _growth(block: _DenseBlock) -> int:
    return next(iter(block.values())).conv2.out_channels


def _half_dense_block(source: _DenseBlock, channels: int) -> _DenseBlock:
    layer = next(iter(source.values()))
    growth = _growth(source)
    return _DenseBlock(
        num_layers=(len(source) + 1) // 2,
        num_input_features=channels,
        bn_size=layer.conv1.out_channels // growth,
        growth_rate=growth,
        drop_rate=layer.drop_rate,
    )
