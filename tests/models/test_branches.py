"""Where branches start from (init) and where they leave the trunk (fork)."""

from itertools import product

import pytest
import torch

from reid_dhm.errors import InputError
from reid_dhm.models.branch_spec import BranchSpec
from reid_dhm.models.providers import BACKBONES, build_backbone
from reid_dhm.models.reid import ReIDModel

# Trunk blocks (stage, index) that each block of a branch mirrors, worked out by hand: of ResNet-18
# the reference layout; of the others what changes the shape and half of every run that does not.
MIRRORED = {
    ("resnet18", "layer2"): [("layer3", 0), ("layer4", 0), ("layer4", 1)],
    ("mobilenet_v2", "stage3"): [("stage4", i) for i in (0, 1, 3, 4)],
    ("mobilenet_v2", "stage2"): [
        *[("stage3", i) for i in (0, 1, 4, 5)],
        *[("stage4", i) for i in (0, 1, 3, 4)],
    ],
    ("osnet_x0_25", "conv3"): [("conv4", i) for i in (0, 1, 2)],
}


@pytest.fixture(scope="module")
def backbones(unsettle):
    """Trunks that look trained; tests only read them."""
    torch.manual_seed(0)
    names = ("resnet18", "mobilenet_v2", "osnet_x0_25", "densenet121", "mobilenet_v3_small")
    return {name: unsettle(build_backbone(name)) for name in names}


def drawn(model: ReIDModel, seed: int, times: int) -> list[tuple[int, ...]]:
    generator = torch.Generator().manual_seed(seed)
    return [model.draw_forks(generator) for _ in range(times)]


@pytest.mark.parametrize(("name", "after"), MIRRORED)
def test_copies_equal_the_trunks_blocks_and_share_nothing(backbones, name, after):
    backbone = backbones[name]
    (branch,) = ReIDModel(backbone, 5, [BranchSpec(after, "copy")]).side_branches
    for block, (stage, index) in zip(branch.path, MIRRORED[name, after], strict=True):
        source = backbone.blocks(stage)[index].state_dict()
        copied = block.state_dict()
        assert copied.keys() == source.keys()
        for key, value in copied.items():
            assert torch.equal(value, source[key])
            assert value.data_ptr() != source[key].data_ptr()


@pytest.mark.parametrize(("name", "after"), MIRRORED)
def test_fresh_blocks_start_from_nothing_of_the_trunk(backbones, name, after):
    backbone = backbones[name]
    (branch,) = ReIDModel(backbone, 5, [BranchSpec(after, "fresh")]).side_branches
    for block, (stage, index) in zip(branch.path, MIRRORED[name, after], strict=True):
        source = backbone.blocks(stage)[index].state_dict()
        compared = {k: v for k, v in block.state_dict().items() if v.is_floating_point()}
        assert not any(torch.equal(value, source[key]) for key, value in compared.items())
        for key, value in compared.items():
            if key.endswith("running_mean"):
                assert not value.any()
            if key.endswith("running_var"):
                assert (value == 1).all()


def test_fresh_convolutions_follow_he_et_al(backbones):
    """Standard deviation sqrt(2 / fan out); 256 × 3 × 3 leave each input of layer3.0.conv2."""
    (branch,) = ReIDModel(backbones["resnet18"], 5, [BranchSpec("layer2")]).side_branches
    weight = branch.path[0].conv2.weight
    assert weight.std().item() == pytest.approx((2 / (256 * 9)) ** 0.5, rel=0.01)


@pytest.mark.parametrize(
    ("name", "after", "block"),
    [
        ("resnet18", "layer3", "layer4.0"),
        ("densenet121", "denseblock2", "denseblock3.1"),
        ("densenet121", "denseblock3", "denseblock4.1"),
    ],
)
def test_copy_is_refused_where_no_block_matches(backbones, name, after, block):
    """The double-width layer4' and the narrower dense blocks have no counterpart in the trunk."""
    refusal = f"branch after {after} cannot start as a copy: .*its block {block} .*init: fresh"
    with pytest.raises(InputError, match=refusal):
        ReIDModel(backbones[name], 5, [BranchSpec(after, "copy")])


@pytest.mark.parametrize(
    ("name", "branches", "positions"),
    [
        ("resnet18", ("layer2", "layer3"), ((1, 2), (1, 2))),
        ("mobilenet_v2", ("stage2", "stage3"), ((1, 2, 3), (5, 6, 7))),
        ("osnet_x0_25", ("conv2", "conv3"), ((1, 2), (2, 3))),
    ],
)
def test_random_forks_reach_every_combination_of_positions(backbones, name, branches, positions):
    model = ReIDModel(backbones[name], 5, [BranchSpec(b) for b in branches], fork="random")
    assert set(drawn(model, seed=0, times=300)) == set(product(*positions))


def test_random_forks_follow_the_generator_alone(backbones):
    branches = [BranchSpec("stage2"), BranchSpec("stage3")]
    model = ReIDModel(backbones["mobilenet_v2"], 5, branches, fork="random")
    before = torch.get_rng_state()
    draws = drawn(model, seed=7, times=20)
    assert torch.equal(torch.get_rng_state(), before)
    assert drawn(model, seed=7, times=20) == draws
    assert drawn(model, seed=8, times=20) != draws


def test_fixed_forks_never_move(backbones):
    branches = [BranchSpec("stage2"), BranchSpec("stage3")]
    model = ReIDModel(backbones["mobilenet_v2"], 5, branches, fork="fixed")
    assert set(drawn(model, seed=0, times=50)) == {(3, 7)}


@torch.no_grad()
def test_a_fork_changes_what_its_branch_sees_and_nothing_else(backbones):
    branches = [BranchSpec("stage2"), BranchSpec("stage3")]
    model = ReIDModel(backbones["mobilenet_v2"], 5, branches, fork="random").eval()
    images = torch.randn(2, 3, 64, 32)
    main, first, second = zip(
        *[[out.logits for out in model(images, (3, fork))] for fork in (5, 6, 7)], strict=True
    )
    assert torch.equal(main[0], main[1])
    assert torch.equal(main[0], main[2])
    assert torch.equal(first[0], first[2])
    assert not torch.equal(second[0], second[1])
    assert not torch.equal(second[1], second[2])
    assert torch.equal(second[2], model(images)[2].logits)
    x = images
    for name in ("stem", "stage1", "stage2"):
        x = model.backbone.blocks(name)(x)
    leaves_at = model.backbone.blocks("stage3")[:5](x)
    assert torch.equal(second[0], model.side_branches[1](leaves_at).logits)


@pytest.mark.parametrize(
    ("name", "after"), [("densenet121", "denseblock3"), ("mobilenet_v3_small", "stage1")]
)
def test_random_is_refused_where_there_is_one_position(backbones, name, after):
    with pytest.raises(InputError, match=rf"two fork positions.* and {after} of {name} has one"):
        ReIDModel(backbones[name], 5, [BranchSpec(after)], fork="random")


def test_unknown_forks_are_refused(backbones):
    with pytest.raises(InputError, match=r"model.fork is 'dynamic': use fixed or random"):
        ReIDModel(backbones["mobilenet_v3_small"], 5, fork="dynamic")


def test_names_of_the_backbones_that_the_project_promises():
    promised = {"resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnext50_32x4d"}
    promised |= {"wide_resnet50_2", "densenet121", "mobilenet_v2", "mobilenet_v3_small"}
    promised |= {"mobilenet_v3_large", "osnet_x1_0", "osnet_x0_25", "resnet50_ibn_a"}
    assert promised <= BACKBONES.keys()
