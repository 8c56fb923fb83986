"""Branches of DenseNets: dense blocks with fewer layers, or with three times the growth rate."""

from __future__ import annotations

import copy

from torch import nn
from torchvision.models.densenet import _DenseBlock, _Transition

from reid_dhm.models.backbones import Backbone, PathBlock, remove_stride
from reid_dhm.models.cifar.densenet import DenseLayer, Transition
from reid_dhm.models.pathways.layouts import DENSE_WIDENING, tabulated_blocks


def densenet_pathway(backbone: Backbone, after: str, rule: str = "light") -> list[PathBlock]:
    """Dense blocks of half the layers (torchvision's); the widths of all that follows shrink too.

    Under ``reference`` the last fork's dense block keeps its layers at three times the growth.
    """
    path = []
    channels = backbone.stage(after).channels
    later = backbone.stages_after(after)
    wide = rule == "reference" and len(later) == 1
    for name in later:
        for index, source in enumerate(backbone.blocks(name)):
            block: nn.Module
            if isinstance(source, _Transition):
                block = _Transition(channels, channels // 2)
                if isinstance(source.pool, nn.Identity):
                    remove_stride(block)
                channels //= 2
            elif isinstance(source, _DenseBlock):
                growth = _growth(source) * (DENSE_WIDENING if wide else 1)
                layers = len(source) if wide else (len(source) + 1) // 2
                block = _dense_block(source, channels, layers, growth)
                channels += layers * growth
            elif isinstance(source, nn.BatchNorm2d):
                block = nn.BatchNorm2d(channels)
            else:
                block = copy.deepcopy(source)
            path.append(PathBlock(block, source, f"{name}.{index}"))
    return path


def _growth(block: _DenseBlock) -> int:
    return next(iter(block.values())).conv2.out_channels


def _dense_block(source: _DenseBlock, channels: int, layers: int, growth: int) -> _DenseBlock:
    layer = next(iter(source.values()))
    return _DenseBlock(
        num_layers=layers,
        num_input_features=channels,
        bn_size=layer.conv1.out_channels // _growth(source),
        growth_rate=growth,
        drop_rate=layer.drop_rate,
    )


def dense_layers_pathway(backbone: Backbone, after: str, rule: str = "light") -> list[PathBlock]:
    """The same for the CIFAR DenseNets, whose blocks are single layers.

    Layers in each dense block as tabulated for the released networks, else half of them.
    """
    path = []
    channels = backbone.stage(after).channels
    later = backbone.stages_after(after)
    growth = DENSE_WIDENING if rule == "reference" and len(later) == 1 else 1
    tabulated = tabulated_blocks(backbone.name, after, rule)
    for number, name in enumerate(later):
        blocks = list(backbone.blocks(name))
        layers = [block for block in blocks if isinstance(block, DenseLayer)]
        count = tabulated[number] if tabulated else (len(layers) + 1) // 2
        for index in range(count):
            layer = DenseLayer(channels, growth * layers[0].growth, layers[0].bottleneck)
            source = layers[index] if index < len(layers) else None
            path.append(PathBlock(layer, source, f"{name}.{index}"))
            channels += layer.growth
        for index, end in list(enumerate(blocks))[len(layers) :]:
            block: nn.Module = copy.deepcopy(end)
            if isinstance(end, Transition):
                block = transition = Transition(channels, end.compression)
                channels = transition.channels
            elif isinstance(end, nn.BatchNorm2d):
                block = nn.BatchNorm2d(channels)
            path.append(PathBlock(block, end, f"{name}.{index}"))
    return path
