"""The CIFAR networks and the released layouts of their branches, counted without weights."""

from functools import cache

import pytest
import torch
from torch import nn

from reid_dhm.models.branch_spec import BranchSpec
from reid_dhm.models.branches import default_branches
from reid_dhm.models.providers import build_backbone
from reid_dhm.models.reid import ReIDModel

# Parameters with average pooling and a 100-class classifier with bias: main path, branch after
# layer1, branch after layer2 (the DHM authors' released networks).
PARAMETERS = {
    "cifar_resnet32": (470_004, 298_212, 1_379_428),
    "cifar_resnet110": (1_733_812, 816_356, 5_219_940),
    "cifar_wrn16_8": (11_007_540, 5_822_820, 31_044_196),
    "cifar_wrn28_10": (36_536_884, 20_145_060, 107_464_420),
    "cifar_wrn28_10_dropout": (36_536_884, 20_145_060, 107_464_420),
    "cifar_densenet40_12": (1_060_132, 650_236, 2_038_996),
    "cifar_densenet_bc100_12": (800_032, 599_944, 4_942_888),
    "cifar_densenet_bc250_24": (15_480_556, 4_899_640, 34_092_004),
    "cifar_densenet_bc190_40": (25_821_620, 7_783_440, 57_667_100),
}
# Blocks (dense layers) per stage: trunk, early branch, last branch; as the table says.
BLOCKS = {
    "cifar_resnet32": (5, (5, 3), 5),
    "cifar_resnet110": (18, (9, 9), 18),
    "cifar_wrn16_8": (2, (2, 1), 2),
    "cifar_wrn28_10": (4, (4, 2), 4),
    "cifar_densenet40_12": (12, (12, 6), 12),
    "cifar_densenet_bc100_12": (16, (16, 16), 32),
    "cifar_densenet_bc250_24": (41, (22, 22), 41),
    "cifar_densenet_bc190_40": (31, (16, 16), 31),
}
WIDTHS = {  # channels behind each stage of the trunk, worked out from the papers
    "cifar_resnet32": (16, 16, 32, 64),
    "cifar_resnet110": (16, 16, 32, 64),
    "cifar_wrn16_8": (16, 128, 256, 512),
    "cifar_wrn28_10": (16, 160, 320, 640),
    "cifar_densenet40_12": (16, 160, 304, 448),
    "cifar_densenet_bc100_12": (24, 108, 150, 342),
    "cifar_densenet_bc250_24": (48, 516, 750, 1734),
    "cifar_densenet_bc190_40": (80, 660, 950, 2190),
}
GROWTH = {"40_12": 12, "bc100_12": 12, "bc250_24": 24, "bc190_40": 40}


@cache
def build(name: str, rule: str = "reference") -> ReIDModel:
    with torch.device("meta"):
        backbone = build_backbone(name, last_stride=1)
        return ReIDModel(backbone, 100, default_branches(backbone, rule), neck="none").eval()


def parameters(*modules: nn.Module) -> int:
    return sum(p.numel() for module in modules for p in module.parameters())


def convolving(blocks: nn.Module) -> list[nn.Module]:
    """The blocks of a stage or path that are no transition and no last normalisation."""
    return [
        b for b in blocks.children() if any(n.startswith("conv2") for n, _ in b.named_modules())
    ]


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameter_counts_are_the_released_networks(name):
    model = build(name)
    counts = (parameters(model.backbone, model.head), *map(parameters, model.branches))
    assert counts == PARAMETERS[name]


@pytest.mark.parametrize("name", BLOCKS)
def test_stages_have_the_depth_width_and_stride_of_the_papers(name):
    backbone = build(name).backbone
    assert [info.name for info in backbone.info] == ["stem", "layer1", "layer2", "layer3"]
    assert tuple(info.channels for info in backbone.info) == WIDTHS[name]
    dense = "densenet" in name  # its stages end with the transition
    assert [info.stride for info in backbone.info] == ([1, 2, 4, 4] if dense else [1, 1, 2, 4])
    for stage in ("layer1", "layer2", "layer3"):
        assert len(convolving(backbone.blocks(stage))) == BLOCKS[name][0]


@pytest.mark.parametrize("name", BLOCKS)
def test_branches_have_the_released_blocks_at_the_released_width(name):
    model, (_, early, last) = build(name), BLOCKS[name]
    paths = [branch.path for branch in model.side_branches]
    assert [branch.after for branch in model.side_branches] == ["layer1", "layer2"]
    assert [len(convolving(path)) for path in paths] == [sum(early), last]
    widths = WIDTHS[name]
    if "densenet" in name:
        growth = GROWTH[name.removeprefix("cifar_densenet_").removeprefix("cifar_densenet")]
        grown = [layer.conv2.out_channels for layer in convolving(paths[1])]
        assert grown == [3 * growth] * last
        assert [layer.conv2.out_channels for layer in convolving(paths[0])] == [growth] * sum(early)
        assert model.branches[1].head.dim == widths[2] + 3 * growth * last
    else:
        outputs = [block.conv2.out_channels for block in convolving(paths[0])]
        assert outputs == [widths[2]] * early[0] + [widths[3]] * early[1]
        wide = [block.conv2.out_channels for block in convolving(paths[1])]
        assert wide == [2 * widths[3]] * last
    images = torch.zeros(2, 3, 32, 32, device="meta")
    forks = [(branch.after, branch.positions[-1]) for branch in model.side_branches]
    trunk, tapped = model.backbone(images, forks)
    assert trunk.shape[2:] == (8, 8)
    for path, x in zip(paths, tapped.values(), strict=True):
        assert path(x).shape[2:] == (8, 8)


@pytest.mark.parametrize("name", ["cifar_resnet32", "cifar_wrn16_8", "cifar_densenet40_12"])
def test_light_branches_halve_every_stage_at_its_own_width(name):
    model, (depth, _, _) = build(name, "light"), BLOCKS[name]
    counts = [len(convolving(branch.path)) for branch in model.side_branches]
    half = (depth + 1) // 2
    assert counts == [2 * half, half]
    assert {spec.rule for spec in default_branches(model.backbone, "light")} == {"light"}


@pytest.mark.parametrize("stride", [1, 2])
@torch.no_grad()
def test_a_residual_block_adds_what_the_paper_says(stride):
    """Option A, by hand: averaged over 2×2 pixels where it halves, zero where channels miss."""
    from reid_dhm.models.cifar.resnet import PlainShortcutBlock

    block = PlainShortcutBlock(3, 3 if stride == 1 else 5, stride).eval()
    nn.init.zeros_(block.bn2.weight)  # the convolutions add nothing
    x = torch.rand(2, 3, 8, 8)
    found = block(x)
    if stride == 1:
        assert torch.equal(found, x)
    else:
        averaged = x.unfold(2, 2, 2).unfold(3, 2, 2).mean(dim=(-2, -1))
        torch.testing.assert_close(found[:, :3], averaged)
        assert not found[:, 3:].any()


@torch.no_grad()
def test_a_wide_block_shares_its_activation_with_the_shortcut():
    """Zagoruyko & Komodakis: where the width changes, normalisation comes before both ways."""
    from reid_dhm.models.cifar.wide_resnet import PreActivationBlock

    block = PreActivationBlock(3, 5, 2, dropout=0.3).eval()
    nn.init.zeros_(block.conv2.weight)
    x = torch.randn(2, 3, 8, 8)
    expected = nn.functional.conv2d(block.bn1(x).relu(), block.shortcut.weight, stride=2)
    torch.testing.assert_close(block(x), expected)
    block.bn1.weight.fill_(0)  # a block of equal width would still hand its input on
    assert not block(x).any()


def test_dropout_belongs_to_one_of_the_wide_networks():
    def rates(name: str) -> set[float]:
        return {m.p for m in build(name).modules() if isinstance(m, nn.Dropout)}

    assert rates("cifar_wrn28_10") == {0.0}
    assert rates("cifar_wrn28_10_dropout") == {0.3}


def test_default_branches_start_as_copies_where_every_block_fits():
    with torch.device("meta"):
        backbone = build_backbone("cifar_densenet_bc100_12")
        specs = default_branches(backbone, "reference")
    # 16 of 16 layers and the whole transition, so all widths agree
    assert specs == [
        BranchSpec("layer1", "copy", "reference"),
        BranchSpec("layer2", "fresh", "reference"),
    ]
