"""The re-ID model: a trunk with its head, and side branches in training."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reid_dhm.errors import InputError
from reid_dhm.models.backbones import Backbone
from reid_dhm.models.branch_spec import BranchSpec
from reid_dhm.models.branches import Branch, build_branch, head_embedding
from reid_dhm.models.heads import Head, ReIDOutput


class ReIDModel(nn.Module):
    """Backbone, main head, and any number of side branches.

    Args:
        backbone: the trunk.
        num_classes: training identities.
        branches: where branches fork and how they start; none for a plain backbone.
        pooling: ``avg`` or ``gem``, for every head.
        neck: ``bnneck`` or ``none``, for every head.
        fork: ``fixed`` leaves at the end of the stage named; ``random`` lets
            :meth:`draw_forks` choose among the positions inside it.
        taught: dimension of an outside teacher's embeddings, towards which the main head's are
            projected during training; 0 without such a teacher.

    Raises:
        InputError: ``fork: random`` for a branch with a single fork position.
    """

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        branches: Sequence[BranchSpec] = (),
        pooling: str = "avg",
        neck: str = "bnneck",
        fork: str = "fixed",
        taught: int = 0,
    ) -> None:
        super().__init__()
        if fork not in ("fixed", "random"):
            raise InputError(f"model.fork is {fork!r}: use fixed or random")
        self.backbone = backbone
        native = head_embedding(backbone, neck)
        self.head = Head(backbone.channels, num_classes, pooling, neck, native)
        self.branches = nn.ModuleList(
            build_branch(backbone, spec, num_classes, pooling, neck) for spec in branches
        )
        self.fork = fork
        for branch in self.side_branches:
            if fork == "random" and len(branch.positions) < 2:
                raise InputError(
                    f"fork: random needs two fork positions, and {branch.after} of {backbone.name} "
                    "has one: use fork: fixed or fork after another stage"
                )
        self.projection = nn.Linear(self.head.dim, taught) if taught else None

    @property
    def side_branches(self) -> list[Branch]:
        """The branches, in order."""
        return [branch for branch in self.branches if isinstance(branch, Branch)]

    def draw_forks(self, generator: torch.Generator | None = None) -> tuple[int, ...]:
        """Number of blocks after which each branch leaves its stage: drawn, or the end if fixed."""
        forks = []
        for branch in self.side_branches:
            index = len(branch.positions) - 1
            if self.fork == "random":
                index = int(torch.randint(len(branch.positions), (), generator=generator))
            forks.append(branch.positions[index])
        return tuple(forks)

    def forward(self, images: Tensor, forks: tuple[int, ...] | None = None) -> list[ReIDOutput]:
        """All heads, the main one first.

        Args:
            images: (B, 3, H, W) float, normalised.
            forks: from :meth:`draw_forks`; ``None`` is the end of each stage.
        """
        branches = self.side_branches
        if forks is None:
            forks = tuple(branch.positions[-1] for branch in branches)
        taps = [(branch.after, fork) for branch, fork in zip(branches, forks, strict=True)]
        x, tapped = self.backbone(images, taps)
        return [self.head(x)] + [b(tapped[tap]) for b, tap in zip(branches, taps, strict=True)]

    def embed(self, images: Tensor) -> Tensor:
        """Embeddings of the main path alone: (B, 3, H, W) → (B, D); branches are not run."""
        return self.head.embed(self.backbone(images)[0])

    def classify(self, images: Tensor) -> Tensor:
        """Logits of the main path alone: (B, 3, H, W) → (B, C)."""
        return self.head(self.backbone(images)[0]).logits

    def embed_ensemble(self, images: Tensor) -> Tensor:
        """Main and branch embeddings, each L2-normalised, concatenated: (B, ΣD)."""
        heads = [F.normalize(out.embeddings.float()) for out in self(images)]
        return torch.cat(heads, dim=1)

    def deploy(self, keep_branches: bool = False) -> ReIDModel:
        """A copy without branches, in eval mode: the modules of the plain backbone.

        The projection to a teacher is left out too; with ``keep_branches`` it alone.
        """
        branches, projection = self.branches, self.projection
        self.projection = None
        if not keep_branches:
            self.branches = nn.ModuleList()
        try:
            return copy.deepcopy(self).eval()
        finally:
            self.branches, self.projection = branches, projection
