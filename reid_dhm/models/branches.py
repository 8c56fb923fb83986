"""Side branches: pathways that leave the trunk after an intermediate stage (design: DHM, §3).

Branches exist for training; :meth:`reid_dhm.models.reid.ReIDModel.deploy` drops them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reid_dhm.errors import InputError
from reid_dhm.models.backbones import PROBE_SIZE, Backbone, PathBlock, StageInfo
from reid_dhm.models.branch_spec import BranchSpec
from reid_dhm.models.heads import Head, ReIDOutput
from reid_dhm.models.pathways import derived_pathway

BRANCH_RULES = ("light", "reference")


class Branch(nn.Module):
    """A pathway of its own from a fork in the trunk to a head of its own.

    Attributes:
        after: the stage it forks after.
        positions: block counts within that stage after which it may leave the trunk.
    """

    def __init__(self, after: str, positions: tuple[int, ...], path: nn.Sequential, head: Head):
        super().__init__()
        self.after = after
        self.positions = positions
        self.path = path
        self.head = head

    def forward(self, feature_map: Tensor) -> ReIDOutput:
        """Run the branch from the tapped feature map (B, C, h, w)."""
        return self.head(self.path(feature_map))


def default_branches(backbone: Backbone, rule: str = "light") -> list[BranchSpec]:
    """Forks before each of the last two stages (after ``layer2`` and ``layer3`` of a ResNet).

    Branches whose blocks all match the trunk's start as copies, the others fresh.
    """
    specs = []
    for info in backbone.info[-3:-1]:
        with torch.device("meta"):  # shapes are needed, not weights
            fits = all(_fits(block) for block in _pathway(backbone, info.name, rule))
        specs.append(BranchSpec(info.name, "copy" if fits else "fresh", rule))
    return specs


def build_branch(
    backbone: Backbone, spec: BranchSpec, num_classes: int, pooling: str, neck: str
) -> Branch:
    """Build one branch.

    Raises:
        InputError: no such stage, no stage after it, an unknown ``init`` or ``rule``, or ``copy``
            where a block of the branch has no counterpart of its shape in the trunk.
    """
    info = backbone.stage(spec.after)
    if not backbone.stages_after(spec.after):
        raise InputError(
            f"a branch cannot fork after {spec.after}, the last stage of {backbone.name}: "
            f"name an earlier one in model.branches"
        )
    pathway = _pathway(backbone, spec.after, spec.rule)
    path = nn.Sequential(*(block.block for block in pathway))
    channels = _channels(path, info)
    embedding = head_embedding(backbone, neck)
    if embedding is not None and channels != backbone.channels:
        _take(embedding, channels)
    if spec.init == "copy":
        for block in pathway:
            _copy(block, backbone.name, spec)
    elif spec.init == "fresh":
        init_weights(nn.ModuleList([path, embedding] if embedding else [path]))
    else:
        raise InputError(f"init of the branch after {spec.after} is {spec.init!r}: fresh or copy")
    head = Head(channels, num_classes, pooling, neck, embedding)
    return Branch(spec.after, info.fork_positions, path, head)


def _pathway(backbone: Backbone, after: str, rule: str) -> list[PathBlock]:
    if rule not in BRANCH_RULES:
        raise InputError(f"model.branch_rule is {rule!r}: use one of {', '.join(BRANCH_RULES)}")
    return (backbone.pathway or derived_pathway)(backbone, after, rule)


def _take(embedding: nn.Module, channels: int) -> None:
    """Replace the first linear layer by one that takes ``channels`` inputs, in place."""
    for module in embedding.modules():
        for name, layer in module.named_children():
            if isinstance(layer, nn.Linear):
                setattr(module, name, nn.Linear(channels, layer.out_features))
                return


def head_embedding(backbone: Backbone, neck: str) -> nn.Module | None:
    """The native embedding layer of a head without a neck, where the backbone has one."""
    if neck == "none" and backbone.native_embedding is not None:
        return backbone.native_embedding()
    return None


def _shapes(module: nn.Module) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in module.state_dict().items()}


def _fits(block: PathBlock) -> bool:
    return block.source is not None and _shapes(block.block) == _shapes(block.source)


def _copy(block: PathBlock, backbone: str, spec: BranchSpec) -> None:
    if block.source is None or not _fits(block):
        raise InputError(
            f"the branch after {spec.after} cannot start as a copy: the shape of its block "
            f"{block.name} differs from {backbone}'s; set init: fresh for this branch"
        )
    block.block.load_state_dict(block.source.state_dict())


@torch.no_grad()
def _channels(path: nn.Sequential, fork: StageInfo) -> int:
    was_training = path.training
    side = PROBE_SIZE // fork.stride
    out = path.eval()(torch.zeros(1, fork.channels, side, side)).shape[1]
    path.train(was_training)
    return out


def init_weights(module: nn.Module) -> None:
    """Random weights for a fresh pathway: He et al. 2015 (fan out) for convolutions, in place."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.01)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, (nn.modules.batchnorm._BatchNorm, nn.InstanceNorm2d)):
            layer.reset_parameters()
