"""The reference layouts of the five ResNets, counted and shaped without holding a weight."""

from functools import cache

import pytest
import torch

from reid_dhm.models.branch_spec import BranchSpec
from reid_dhm.models.branches import default_branches
from reid_dhm.models.providers import build_backbone
from reid_dhm.models.reid import ReIDModel

# Parameters with average pooling and a 1000-class classifier with bias: main path, branch after
# layer2, branch after layer3 (the authors' released ImageNet models).
PARAMETERS = {
    "resnet18": (11_689_512, 9_825_768, 31_968_232),
    "resnet34": (21_797_672, 12_187_112, 50_846_696),
    "resnet50": (25_557_032, 16_297_960, 58_668_008),
    "resnet101": (44_549_160, 26_352_616, 58_668_008),
    "resnet152": (60_192_808, 33_055_720, 58_668_008),
}
# Blocks of layer3' and layer4' of the first branch, and of layer4' of the second.
BLOCKS = {
    "resnet18": ([1, 2], [2]),
    "resnet34": ([3, 2], [3]),
    "resnet50": ([3, 2], [3]),
    "resnet101": ([12, 2], [3]),
    "resnet152": ([18, 2], [3]),
}
EXPANSION = {"resnet18": 1, "resnet34": 1, "resnet50": 4, "resnet101": 4, "resnet152": 4}
REFERENCE = (BranchSpec("layer2"), BranchSpec("layer3"))

resnets = pytest.mark.parametrize("name", PARAMETERS)
last_strides = pytest.mark.parametrize("last_stride", [1, 2])


@cache
def build(name: str, last_stride: int = 2) -> ReIDModel:
    with torch.device("meta"):
        backbone = build_backbone(name, last_stride=last_stride)
        return ReIDModel(backbone, 1000, REFERENCE, pooling="avg", neck="none").eval()


def parameters(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@resnets
@last_strides
def test_parameter_counts_are_the_published_ones(name, last_stride):
    model = build(name, last_stride)
    main = parameters(model.backbone) + parameters(model.head)
    assert (main, *map(parameters, model.branches)) == PARAMETERS[name]


@resnets
def test_default_branches_are_the_reference(name):
    with torch.device("meta"):
        specs = default_branches(build(name).backbone)
    assert specs == [BranchSpec("layer2", "copy"), BranchSpec("layer3", "fresh")]


@resnets
@last_strides
def test_maps_along_both_branches(name, last_stride):
    """256×128 images: layer3' comes out at stride 16, layer4' and the trunk at the last one."""
    model, wide = build(name, last_stride), EXPANSION[name]
    last = (16, 8) if last_stride == 1 else (8, 4)
    images = torch.zeros(2, 3, 256, 128, device="meta")
    trunk, tapped = model.backbone(
        images, [(b.after, b.positions[-1]) for b in model.side_branches]
    )
    assert trunk.shape == (2, 512 * wide, *last)
    shapes = []
    for branch, x in zip(model.side_branches, tapped.values(), strict=True):
        shapes.append([])
        for block in branch.path:
            x = block(x)
            shapes[-1].append(tuple(x.shape))
    (layer3, layer4), (wide_layer4,) = BLOCKS[name]
    assert shapes[0] == [(2, 256 * wide, 16, 8)] * layer3 + [(2, 512 * wide, *last)] * layer4
    assert shapes[1] == [(2, 1024 * wide, *last)] * wide_layer4


@resnets
def test_blocks_are_the_trunks_own_kind(name):
    model = build(name)
    kind = type(model.backbone.blocks("layer4")[0])
    assert {type(block) for branch in model.side_branches for block in branch.path} == {kind}


@resnets
def test_outputs_of_every_head(name):
    outputs = build(name)(torch.zeros(2, 3, 256, 128, device="meta"))
    wide = EXPANSION[name]
    assert [out.embeddings.shape for out in outputs] == [
        (2, 512 * wide),
        (2, 512 * wide),
        (2, 1024 * wide),
    ]
    assert [out.features.shape for out in outputs] == [out.embeddings.shape for out in outputs]
    assert [out.logits.shape for out in outputs] == [(2, 1000)] * 3
