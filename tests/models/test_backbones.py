"""What holds for every backbone: its function, its branches, their gradients, and deploy()."""

import copy
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from reid_dhm.errors import InputError
from reid_dhm.models.backbones import Backbone, PathBlock
from reid_dhm.models.branch_spec import BranchSpec
from reid_dhm.models.branches import build_branch, default_branches
from reid_dhm.models.cifar.network import StagedNetwork
from reid_dhm.models.pathways import RESNET_LAYOUT, derived_pathway, resnet_pathway
from reid_dhm.models.providers import BACKBONES, build_backbone
from reid_dhm.models.reid import ReIDModel


class Case(NamedTuple):
    provider: nn.Module
    model: ReIDModel
    images: Tensor


# Deep CIFAR networks have nothing that a shallow one has not, and take minutes on a CPU.
SHALLOW = [
    name
    for name in BACKBONES
    if not name.startswith("cifar")
    or name in ("cifar_resnet32", "cifar_wrn16_8", "cifar_densenet40_12")
]


@pytest.fixture(scope="module", params=SHALLOW)
def case(request, unsettle) -> Case:
    """A provider's own model, and a branched one made of its modules."""
    torch.manual_seed(0)
    provider = unsettle(BACKBONES[request.param].create()).eval()
    backbone = split(request.param, provider)
    model = ReIDModel(backbone, 5, default_branches(backbone))
    unsettle(model.branches)
    return Case(provider, model, torch.randn(4, 3, 64, 32))


def split(name: str, provider: nn.Module, last_stride: int = 2) -> Backbone:
    return Backbone(name, BACKBONES[name].split(provider), last_stride)


def pathway(backbone: Backbone, after: str) -> list[PathBlock]:
    return (backbone.pathway or derived_pathway)(backbone, after, "light")


def feature_map(provider: nn.Module, images: Tensor) -> Tensor:
    """The last feature map in eval mode, from the provider's own code."""
    provider.eval()
    if isinstance(provider, StagedNetwork):
        return provider(images)
    if hasattr(provider, "featuremaps"):  # torchreid
        return provider.featuremaps(images)
    if hasattr(provider, "features"):  # DenseNet puts its last ReLU into forward
        maps = provider.features(images)
        return maps.relu() if type(provider).__name__ == "DenseNet" else maps
    provider.fc = nn.Identity()  # what it costs is not the feature map's
    seen = []
    handle = provider.avgpool.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    provider(images)
    handle.remove()
    return seen[0]


def storages(module: nn.Module) -> set[int]:
    return {t.untyped_storage().data_ptr() for t in module.state_dict(keep_vars=True).values()}


def flops(function: Callable[[Tensor], object], x: Tensor) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        function(x)
    return counter.get_total_flops()


@torch.no_grad()
def test_stages_compute_what_the_provider_does(case):
    expected = feature_map(case.provider, case.images)
    assert expected.isfinite().all()
    assert torch.equal(case.model.eval().backbone(case.images)[0], expected)


@torch.no_grad()
def test_a_tap_hands_out_the_map_as_it_was(case):
    """Every fork position has its stage's output shape, and later layers leave it untouched."""
    backbone = case.model.eval().backbone
    taps = [(i.name, position) for i in backbone.info for position in i.fork_positions]
    _, tapped = backbone(case.images, taps)
    x = case.images
    for info in backbone.info:
        for position, block in enumerate(backbone.blocks(info.name), start=1):
            x = block(x.clone())
            if (info.name, position) in tapped:
                assert torch.equal(tapped[info.name, position], x)
        side = (64 // info.stride, 32 // info.stride)
        shapes = {tapped[info.name, position].shape for position in info.fork_positions}
        assert shapes == {(4, info.channels, *side)}


def test_every_parameter_learns_from_the_heads(case):
    model = case.model.train()
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen == {"head.neck.bias"} | {
        f"branches.{i}.head.neck.bias" for i in range(len(model.branches))
    }
    loss = sum(F.cross_entropy(out.logits, torch.arange(4)) for out in model(case.images))
    model.zero_grad(set_to_none=True)
    loss.backward()
    dead = [
        name
        for name, p in model.named_parameters()
        if p.requires_grad and (p.grad is None or not p.grad.any())
    ]
    model.zero_grad(set_to_none=True)
    assert dead == []


def test_a_branch_shares_nothing_with_the_trunk(case):
    trunk, *branches = map(storages, (case.model.backbone, *case.model.branches))
    assert len(branches) == 2
    assert not trunk & branches[0]
    assert not trunk & branches[1]
    assert not branches[0] & branches[1]


@torch.no_grad()
def test_deploy_is_the_backbone_never_branched(case):
    model = case.model.eval()
    plain = ReIDModel(split(model.backbone.name, case.provider), 5).eval()
    deployed = model.train().deploy()
    assert model.training
    assert len(model.branches) == 2
    assert not deployed.training

    def kinds(m: nn.Module) -> list[tuple[str, type]]:
        return [(name, type(module)) for name, module in m.named_modules()]

    def shapes(m: nn.Module) -> dict[str, torch.Size]:
        return {name: value.shape for name, value in m.state_dict().items()}

    assert kinds(deployed) == kinds(plain)
    assert shapes(deployed) == shapes(plain)
    assert not storages(deployed) & storages(model)
    trunk = flops(partial(feature_map, case.provider), case.images[:1])
    classifier = 2 * deployed.head.dim * 5  # a multiplication and an addition per weight
    assert flops(deployed, case.images[:1]) == trunk + classifier

    images = case.images[:2]
    expected = model.eval()(images)[0].embeddings
    assert torch.equal(deployed.embed(images), expected)
    assert torch.equal(deployed(images)[0].embeddings, expected)
    assert torch.equal(model.embed(images), expected)


def test_a_branch_has_blocks_for_every_remaining_stage(case):
    """Wherever it forks, and with weights in each of those stages."""
    backbone = case.model.backbone
    for info in backbone.info[:-1]:
        with torch.device("meta"):
            path = pathway(backbone, info.name)
        weighty = [b.name.split(".")[0] for b in path if list(b.block.parameters())]
        assert list(dict.fromkeys(weighty)) == backbone.stages_after(info.name)


def test_derived_branches_cost_less_than_the_rest_of_the_trunk(case):
    """20 to 100 % of its FLOPs, from every fork that the reference does not tabulate."""
    backbone = case.model.eval().backbone
    tabulated = RESNET_LAYOUT.get(backbone.name, {})
    assert bool(tabulated) == (backbone.pathway is resnet_pathway)
    cost, inputs, x = {}, {}, case.images[:1]
    for info in backbone.info:
        cost[info.name] = flops(backbone.blocks(info.name), x)
        x = inputs[info.name] = backbone.blocks(info.name)(x).detach()
    for info in backbone.info[:-1]:
        if info.name not in tabulated:
            path = nn.Sequential(*(b.block for b in pathway(backbone, info.name))).eval()
            rest = sum(cost[name] for name in backbone.stages_after(info.name))
            assert 0.2 <= flops(path, inputs[info.name]) / rest <= 1, info.name


@torch.no_grad()
def test_last_stride_one_changes_trunk_and_branches_together(case):
    """OSNet ends at stride 16 anyway and stays as it is; the others lose their last halving."""
    two = case.model.backbone
    if two.name.startswith("cifar"):
        assert split(two.name, copy.deepcopy(case.provider), last_stride=1).info[-1].stride == 4
        return
    one = split(two.name, copy.deepcopy(case.provider), last_stride=1).eval()
    assert one.info[-1].stride == 16
    assert two.info[-1].stride == (16 if two.name.startswith(("osnet", "resnet50_fc")) else 32)
    assert one.info[:-1] == two.info[:-1]
    forks = one.info[-3:-1]
    last, tapped = one(case.images[:1], [(info.name, info.fork_positions[-1]) for info in forks])
    for info, x in zip(forks, tapped.values(), strict=True):
        path = nn.Sequential(*(b.block for b in pathway(one, info.name))).eval()
        assert path(x).shape[2:] == last.shape[2:] == (4, 2)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "densenet121", "osnet_x0_25"])
def test_a_branchs_loss_reaches_the_trunk_up_to_its_fork_alone(name):
    backbone = build_backbone(name)
    model = ReIDModel(backbone, 5, default_branches(backbone)).train()
    for i, branch in enumerate(model.side_branches, start=1):
        model.zero_grad(set_to_none=True)
        F.cross_entropy(model(torch.randn(4, 3, 64, 32))[i].logits, torch.arange(4)).backward()
        beyond = backbone.stages_after(branch.after)
        for info in backbone.info:
            reached = {p.grad is not None for p in backbone.blocks(info.name).parameters()}
            assert reached == {info.name not in beyond}, (branch.after, info.name)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"name": "resnet51"}, "resnet51.*resnet50"),
        ({"name": "mobilenet_v3_small", "last_stride": 3}, "last_stride is 3.*1 or 2"),
    ],
)
def test_unknown_backbones_and_strides_are_refused(arguments, named):
    with pytest.raises(InputError, match=named):
        build_backbone(**arguments)


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        (BranchSpec("layer9"), "no stage 'layer9': its stages are stem, layer1, layer2"),
        (BranchSpec("layer4"), "after layer4, the last stage of resnet18"),
        (BranchSpec("layer2", "warm"), "branch after layer2 is 'warm': fresh or copy"),
    ],
)
def test_impossible_branches_are_refused(spec, named):
    with pytest.raises(InputError, match=named):
        build_branch(build_backbone("resnet18"), spec, 5, "avg", "bnneck")
