"""Backbones as ordered stages of blocks, from any provider.

Side branches, heads and diagnostics read channels, stride and fork positions from the stages and
depend on no architecture. Side branches are built in :mod:`reid_dhm.models.branches`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from reid_dhm.errors import InputError

PROBE_SIZE = 64  # side in pixels of the image that shapes are measured on, twice any total stride


@dataclass(frozen=True)
class StageInfo:
    """Name, output shape and fork positions of a stage.

    Attributes:
        name: the stage's name in its backbone.
        channels: channels of the stage's output.
        stride: input pixels per output pixel, counted from the image.
        fork_positions: numbers of blocks after which the feature map already has the shape of
            the stage's output, ascending; the last one is the end of the stage.
        preserving: for each block, whether its output has its input's shape.
    """

    name: str
    channels: int
    stride: int
    fork_positions: tuple[int, ...]
    preserving: tuple[bool, ...]


@dataclass(frozen=True)
class PathBlock:
    """A block of a side branch's pathway, and the trunk block that it mirrors, if any."""

    block: nn.Module
    source: nn.Module | None
    name: str


Pathway = Callable[["Backbone", str, str], list[PathBlock]]
"""Backbone, stage forked after and branch rule → the blocks of a branch."""


@dataclass(frozen=True)
class Split:
    """A provider's model taken apart.

    Attributes:
        stages: name → blocks, in order; a stage begins with the transition (downsampling,
            widening) that leads into it, so that a branch forking before it owns the transition.
        pathway: builds the blocks of a branch; ``None`` derives them from the trunk's blocks.
        embedding: makes a copy of the backbone's native embedding layer after pooling (OSNet's
            Linear + BN + ReLU) for a head without a neck, or ``None`` where there is none.
    """

    stages: Mapping[str, Iterable[nn.Module]]
    pathway: Pathway | None = None
    embedding: Callable[[], nn.Module] | None = None


class Backbone(nn.Module):
    """Ordered stages; ``forward`` can return feature maps at any fork position.

    Args:
        name: its name in configurations and cards.
        split: its stages.
        last_stride: 1 removes the last downsampling (Luo et al. 2019) of a backbone whose total
            stride is 32, here and in every branch; a total stride of 16 is left alone.
    """

    def __init__(self, name: str, split: Split, last_stride: int = 2) -> None:
        super().__init__()
        if last_stride not in (1, 2):
            raise InputError(f"model.last_stride is {last_stride}: use 1 or 2")
        self.name = name
        self.stages = nn.ModuleDict({k: nn.Sequential(*v) for k, v in split.stages.items()})
        self.pathway = split.pathway
        self.native_embedding = split.embedding
        self.info = self._probe()
        if last_stride == 1 and self.info[-1].stride > 16:
            remove_stride(self.stages[self.info[-1].name])
            self.info = self._probe()

    @property
    def channels(self) -> int:
        """Channels of the last stage's output."""
        return self.info[-1].channels

    def stage(self, name: str) -> StageInfo:
        """Look a stage up by name; raises :class:`InputError` with the known names."""
        for info in self.info:
            if info.name == name:
                return info
        known = ", ".join(info.name for info in self.info)
        raise InputError(f"{self.name} has no stage {name!r}: its stages are {known}")

    def blocks(self, name: str) -> nn.Sequential:
        """The blocks of one stage."""
        return cast(nn.Sequential, self.stages[name])

    def stages_after(self, name: str) -> list[str]:
        """Names of the stages that follow ``name``."""
        names = [info.name for info in self.info]
        return names[names.index(self.stage(name).name) + 1 :]

    def forward(
        self, images: Tensor, taps: Iterable[tuple[str, int]] = ()
    ) -> tuple[Tensor, dict[tuple[str, int], Tensor]]:
        """Run the trunk.

        Args:
            images: (B, 3, H, W) float, normalised.
            taps: (stage name, number of blocks) pairs whose feature maps are wanted.

        Returns:
            The last feature map (B, C, h, w), and the tapped ones by their pair.
        """
        wanted = set(taps)
        tapped: dict[tuple[str, int], Tensor] = {}
        x = images
        for name, stage in self.stages.items():
            for position, block in enumerate(cast(nn.Sequential, stage), start=1):
                x = block(x)
                if (name, position) in wanted:
                    tapped[name, position] = x
        return x, tapped

    @torch.no_grad()
    def _probe(self) -> tuple[StageInfo, ...]:
        """Measure the shapes of every stage on one small image."""
        was_training = self.training
        self.eval()
        x = torch.zeros(1, 3, PROBE_SIZE, PROBE_SIZE)
        found = []
        for name, stage in self.stages.items():
            shapes = [x.shape]
            for block in cast(nn.Sequential, stage):
                x = block(x)
                shapes.append(x.shape)
            inside = range(1, len(shapes))
            found.append(
                StageInfo(
                    name=name,
                    channels=x.shape[1],
                    stride=PROBE_SIZE // x.shape[-1],
                    fork_positions=tuple(i for i in inside if shapes[i] == shapes[-1]),
                    preserving=tuple(shapes[i] == shapes[i - 1] for i in inside),
                )
            )
        self.train(was_training)
        return tuple(found)


def remove_stride(module: nn.Module) -> None:
    """Set every downsampling inside ``module`` to stride 1, in place."""
    for name, child in module.named_children():
        if isinstance(child, nn.Conv2d) and max(child.stride) > 1:
            child.stride = (1, 1)
        elif isinstance(child, (nn.AvgPool2d, nn.MaxPool2d)):
            setattr(module, name, nn.Identity())
        else:
            remove_stride(child)


def split_by_stride(blocks: Iterable[nn.Module]) -> dict[str, list[nn.Module]]:
    """Group a flat run of blocks into stages: ``stem``, then one stage at every downsampling.

    For any network written as one ``nn.Sequential`` of blocks (MobileNets, EfficientNets).
    """
    groups: list[list[nn.Module]] = []
    x = torch.zeros(1, 3, PROBE_SIZE, PROBE_SIZE)
    with torch.no_grad():
        for block in blocks:
            was_training = block.training
            y = block.eval()(x)
            block.train(was_training)
            if not groups or y.shape[-1] < x.shape[-1]:
                groups.append([])
            groups[-1].append(block)
            x = y
    return {("stem" if i == 0 else f"stage{i}"): group for i, group in enumerate(groups)}


@dataclass(frozen=True)
class Provider:
    """How to create and split one backbone.

    Attributes:
        create: the provider's own model with random weights.
        split: its stages.
        pretrained: the model with downloaded ImageNet weights, or ``None`` if none are published.
        unused: prefixes of parameters that no stage or embedding holds (the classifier's).
        rename: from a tensor's name in the provider's published files to the model's.
    """

    create: Callable[[], nn.Module]
    split: Callable[[nn.Module], Split]
    pretrained: Callable[[], nn.Module] | None = None
    unused: tuple[str, ...] = ("fc.", "classifier.")
    rename: Callable[[str], str] = str
