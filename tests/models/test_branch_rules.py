"""The reference rule on backbones whose branches nobody tabulated."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from reid_dhm.errors import InputError
from reid_dhm.models.backbones import Backbone, Split
from reid_dhm.models.branch_spec import BranchSpec
from reid_dhm.models.branches import default_branches
from reid_dhm.models.card import ModelCard, load_model, save_model
from reid_dhm.models.pathways import derived_pathway, resnet_pathway
from reid_dhm.models.providers import build_backbone
from reid_dhm.models.reid import ReIDModel

WIDE = ("mobilenet_v2", "mobilenet_v3_small", "osnet_x1_0", "osnet_ain_x0_25", "resnext50_32x4d")


def shapes(module: nn.Module) -> list[torch.Size]:
    return [p.shape for p in module.parameters()]


def on_meta(name: str, rule: str, neck: str = "bnneck") -> ReIDModel:
    with torch.device("meta"):
        backbone = build_backbone(name)
        return ReIDModel(backbone, 5, default_branches(backbone, rule), neck=neck)


@pytest.mark.parametrize("name", WIDE)
def test_the_last_branch_is_the_last_stage_at_twice_the_width(name):
    """Each layer has twice the outputs, and twice the inputs unless it reads the fork."""
    model = on_meta(name, "reference")
    stage = model.backbone.blocks(model.backbone.info[-1].name)
    (path,) = [branch.path for branch in model.side_branches[1:]]
    trunk = {n: m for n, m in stage.named_modules() if isinstance(m, nn.Conv2d)}
    wide = {n: m for n, m in path.named_modules() if isinstance(m, nn.Conv2d)}
    assert wide.keys() == trunk.keys()
    fork = model.backbone.info[-2].channels
    narrow = 0
    for layer, own in trunk.items():
        copy = wide[layer]
        assert copy.out_channels == 2 * own.out_channels
        assert (copy.kernel_size, copy.stride, copy.padding) == (
            own.kernel_size,
            own.stride,
            own.padding,
        )
        if copy.in_channels == fork and own.in_channels == fork:
            narrow += 1  # reads the map of the fork
        else:
            assert copy.in_channels == 2 * own.in_channels
        depthwise = own.groups == own.in_channels > 1
        assert copy.groups == (copy.in_channels if depthwise else own.groups)
    assert 1 <= narrow <= 2  # one convolution, or one and the shortcut's
    assert model.branches[1].head.dim == 2 * model.backbone.channels


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_widening_any_backbone_gives_the_released_layer4_of_a_resnet(name):
    with torch.device("meta"):
        backbone = build_backbone(name)
        derived = derived_pathway(backbone, "layer3", "reference")
        released = resnet_pathway(backbone, "layer3", "reference")
    found, expected = (
        {n: p.shape for block in path for n, p in block.block.named_parameters(block.name)}
        for path in (derived, released)
    )
    assert found == expected


def test_early_branches_keep_half_of_every_later_stage():
    light, reference = (on_meta("mobilenet_v2", rule) for rule in ("light", "reference"))
    assert shapes(light.branches[0].path) == shapes(reference.branches[0].path)
    assert shapes(light.branches[1].path) != shapes(reference.branches[1].path)


def test_a_densenet_keeps_its_layers_at_three_times_the_growth():
    path = on_meta("densenet121", "reference").side_branches[1].path
    dense = path[1]
    assert len(dense) == 16
    assert {layer.conv2.out_channels for layer in dense.values()} == {3 * 32}
    assert {layer.conv1.out_channels for layer in dense.values()} == {4 * 3 * 32}
    assert path[2].num_features == 512 + 16 * 3 * 32


@pytest.mark.parametrize("name", ["mobilenet_v2", "osnet_x0_25", "densenet121"])
def test_reference_branches_train_and_are_dropped(name, unsettle):
    backbone = build_backbone(name)
    model = ReIDModel(backbone, 4, default_branches(backbone, "reference"))
    unsettle(model).train()
    outputs = model(torch.randn(4, 3, 64, 32))
    torch.stack([F.cross_entropy(out.logits, torch.arange(4)) for out in outputs]).sum().backward()
    dead = [n for n, p in model.branches.named_parameters() if p.requires_grad and p.grad is None]
    assert dead == []
    plain = ReIDModel(build_backbone(name), 4)
    assert model.deploy().state_dict().keys() == plain.state_dict().keys()


def test_a_native_embedding_takes_the_wider_map():
    model = on_meta("osnet_x1_0", "reference", neck="none")
    assert [b.head.embedding[0].in_features for b in model.side_branches] == [512, 1024]
    assert [b.head.dim for b in model.side_branches] == [512, 512]


def test_a_card_rebuilds_branches_by_their_rule(tmp_path):
    branches = (BranchSpec("stage3", "fresh", "reference"),)
    card = ModelCard("mobilenet_v3_small", 5, (64, 32), branches=branches, embedding="ensemble")
    model = card.build()
    save_model(model, card, tmp_path / "m.safetensors")
    loaded, read = load_model(tmp_path / "m.safetensors")
    assert read.branches == branches
    assert shapes(loaded) == shapes(model)


def test_an_unknown_rule_is_refused():
    with pytest.raises(InputError, match="branch_rule is 'heavy': use one of light, reference"):
        default_branches(build_backbone("mobilenet_v3_small"), "heavy")


class _Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv(x)


def test_a_stage_that_cannot_be_wider_says_so():
    """Its first block adds its own input, which stays as wide as the fork."""
    stages = {"first": [nn.Conv2d(3, 8, 3, 2, 1)], "last": [_Residual()]}
    backbone = Backbone("own", Split(stages))
    build = partial(ReIDModel, backbone, 5)
    build([BranchSpec("first")])
    refusal = r"after first of own cannot have 2 times the width of last: .*branch_rule=light"
    with pytest.raises(InputError, match=refusal):
        build([BranchSpec("first", "fresh", "reference")])
