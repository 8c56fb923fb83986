"""The backbones by name: torchvision's, torchreid's, and our own for CIFAR.

A backbone is added as an entry of :data:`BACKBONES`: how to create it and how to split it.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import torchvision
from torch import nn

from reid_dhm.errors import InputError, first_line
from reid_dhm.models.backbones import Backbone, Pathway, Provider, Split, split_by_stride
from reid_dhm.models.cifar.densenet import cifar_densenet
from reid_dhm.models.cifar.network import StagedNetwork
from reid_dhm.models.cifar.resnet import cifar_resnet
from reid_dhm.models.cifar.wide_resnet import cifar_wide_resnet
from reid_dhm.models.pathways import dense_layers_pathway, densenet_pathway, resnet_pathway
from reid_dhm.models.torchreid import torchreid_module
from reid_dhm.models.weights import load_weights, read_state_dict


def split_resnet(model: Any, pathway: Pathway | None = None) -> Split:
    """Stages of torchvision's and torchreid's ResNets: ``stem``, ``layer1`` … ``layer4``."""
    stages = {"stem": [model.conv1, model.bn1, model.relu, model.maxpool]}
    stages |= {
        name: list(getattr(model, name)) for name in ("layer1", "layer2", "layer3", "layer4")
    }
    return Split(stages, pathway)


def split_resnet_fc(model: Any) -> Split:
    """Torchreid's ResNet with an embedding layer (``fc``: Linear + BN + ReLU) after pooling."""
    return Split(split_resnet(model).stages, embedding=partial(copy.deepcopy, model.fc))


def split_densenet(model: Any) -> Split:
    """Stages of a DenseNet: each dense block behind the transition that leads into it."""
    f = model.features
    return Split(
        {
            "stem": [f.conv0, f.norm0, f.relu0, f.pool0],
            "denseblock1": [f.denseblock1],
            "denseblock2": [f.transition1, f.denseblock2],
            "denseblock3": [f.transition2, f.denseblock3],
            "denseblock4": [f.transition3, f.denseblock4, f.norm5, nn.ReLU()],
        },
        densenet_pathway,
    )


def split_mobilenet(model: Any) -> Split:
    """Stages of a MobileNetV2 or V3, cut where the resolution halves."""
    return Split(split_by_stride(model.features))


def split_osnet(model: Any) -> Split:
    """Stages of an OSNet; torchreid's last block of a stage, a transition, begins the next one."""
    if hasattr(model, "pool2"):  # OSNet-AIN keeps its transitions apart
        conv2, transition2, conv3, transition3 = model.conv2, model.pool2, model.conv3, model.pool3
    else:
        *conv2, transition2 = model.conv2
        *conv3, transition3 = model.conv3
    return Split(
        {
            "conv1": [model.conv1, model.maxpool],
            "conv2": conv2,
            "conv3": [transition2, *conv3],
            "conv4": [transition3, *model.conv4, model.conv5],
        },
        embedding=partial(copy.deepcopy, model.fc),
    )


def _torchvision(name: str, split: Any, rename: Callable[[str], str] = str) -> Provider:
    create = partial(torchvision.models.get_model, name)
    return Provider(
        create, split, pretrained=partial(create, weights="IMAGENET1K_V1"), rename=rename
    )


def _rename_densenet(name: str) -> str:
    """The published file says ``denselayer1.norm.1.weight`` where the model says ``norm1``."""
    return re.sub(r"(denselayer\d+\.(?:norm|conv))\.(\d)\.", r"\1\2.", name)


def _create_torchreid(name: str, pretrained: bool = False) -> nn.Module:
    build = torchreid_module("models").build_model
    return build(name, num_classes=1000, pretrained=pretrained, use_gpu=False)


def _torchreid(name: str, split: Any, unused: tuple[str, ...]) -> Provider:
    return Provider(
        partial(_create_torchreid, name),
        split,
        pretrained=partial(_create_torchreid, name, pretrained=True),
        unused=unused,
    )


def _cifar(create: Callable[[], StagedNetwork], pathway: Pathway | None = None) -> Provider:
    return Provider(create, partial(_split_staged, pathway=pathway), unused=())


def _split_staged(model: Any, pathway: Pathway | None) -> Split:
    return Split(model.stages, pathway)


def _create_fastreid(name: str) -> nn.Module:
    """fast-reid's ResNet: torchvision's with a first pooling that rounds up and does not pad."""
    model = torchvision.models.get_model(name)
    model.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True)
    return model


BACKBONES: dict[str, Provider] = {
    **{
        name: _torchvision(name, partial(split_resnet, pathway=resnet_pathway))
        for name in ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
    },
    **{name: _torchvision(name, split_resnet) for name in ("resnext50_32x4d", "wide_resnet50_2")},
    "densenet121": _torchvision("densenet121", split_densenet, _rename_densenet),
    **{
        name: _torchvision(name, split_mobilenet)
        for name in ("mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large")
    },
    **{
        name: _torchreid(name, split_osnet, unused=("classifier.",))  # fc is its embedding
        for name in (
            *("osnet_x1_0", "osnet_x0_75", "osnet_x0_5", "osnet_x0_25", "osnet_ibn_x1_0"),
            *("osnet_ain_x1_0", "osnet_ain_x0_75", "osnet_ain_x0_5", "osnet_ain_x0_25"),
        )
    },
    "resnet50_ibn_a": _torchreid("resnet50_ibn_a", split_resnet, unused=("fc.", "classifier.")),
    "resnet50_fc512": _torchreid("resnet50_fc512", split_resnet_fc, unused=("classifier.",)),
    **{
        f"fastreid_{name}": Provider(partial(_create_fastreid, name), split_resnet)
        for name in ("resnet18", "resnet34", "resnet50", "resnet101")
    },
    **{f"cifar_resnet{depth}": _cifar(partial(cifar_resnet, depth)) for depth in (32, 110)},
    "cifar_wrn16_8": _cifar(partial(cifar_wide_resnet, 16, 8)),
    "cifar_wrn28_10": _cifar(partial(cifar_wide_resnet, 28, 10)),
    "cifar_wrn28_10_dropout": _cifar(partial(cifar_wide_resnet, 28, 10, dropout=0.3)),
    "cifar_densenet40_12": _cifar(partial(cifar_densenet, 40, 12, bc=False), dense_layers_pathway),
    **{
        f"cifar_densenet_bc{depth}_{growth}": _cifar(
            partial(cifar_densenet, depth, growth, bc=True), dense_layers_pathway
        )
        for depth, growth in ((100, 12), (250, 24), (190, 40))
    },
}


def build_backbone(name: str, weights: str | None = None, last_stride: int = 2) -> Backbone:
    """Make a backbone.

    Args:
        name: a key of :data:`BACKBONES`.
        weights: ``None`` for random weights, ``"imagenet"`` to download the provider's, or a file
            (``.safetensors``, ``.pth``, ``.pt``) of the provider's own state dict.
        last_stride: see :class:`~reid_dhm.models.backbones.Backbone`.

    Raises:
        InputError: unknown name, weights that cannot be downloaded, or a file that does not fit.
    """
    if name not in BACKBONES:
        raise InputError(f"unknown model.backbone {name!r}: choose from {', '.join(BACKBONES)}")
    provider = BACKBONES[name]
    if weights == "imagenet":
        model = _download(name, provider)
    else:
        model = provider.create()
        if weights is not None:
            tensors = {provider.rename(k): v for k, v in read_state_dict(weights).items()}
            load_weights(model, tensors, source=weights, unused=provider.unused)
    return Backbone(name, provider.split(model), last_stride)


def _download(name: str, provider: Provider) -> nn.Module:
    remedy = "pass a local file with model.weights=FILE, or model.weights=null for random weights"
    if provider.pretrained is None:
        raise InputError(f"{name} has no ImageNet weights to download: {remedy}")
    try:
        return provider.pretrained()
    except Exception as error:  # every provider fails in its own way without a network
        reason = first_line(error)
        raise InputError(
            f"ImageNet weights of {name} not downloaded ({reason}): {remedy}"
        ) from error
