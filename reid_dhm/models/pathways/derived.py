"""Branches of any backbone, from copies of its own later stages."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import groupby

from torch import nn

from reid_dhm.errors import InputError
from reid_dhm.models.backbones import PROBE_SIZE, Backbone, PathBlock
from reid_dhm.models.pathways.layouts import WIDENING, tabulated_blocks
from reid_dhm.models.pathways.widening import widened


def derived_pathway(backbone: Backbone, after: str, rule: str = "light") -> list[PathBlock]:
    """The backbone's own later stages, shorter or (``reference``, last fork) wider.

    A shortened stage keeps the blocks that change the shape or hold no convolution, and the first
    half (rounded down) of every run of the others, so that shapes always agree and the transitions
    are included. The released networks are as tabulated.

    Raises:
        InputError: the last stage has a block that cannot be made wider.
    """
    later = backbone.stages_after(after)
    if rule == "reference" and len(later) == 1:
        return _widened_stage(backbone, after, later[0])
    tabulated = tabulated_blocks(backbone.name, after, rule)
    path = []
    for number, name in enumerate(later):
        blocks = list(backbone.blocks(name))
        if tabulated is None:
            kept = _half(blocks, backbone.stage(name).preserving)
        else:
            kept = _first(blocks, tabulated[number])
        for index in kept:
            path.append(PathBlock(copy.deepcopy(blocks[index]), blocks[index], f"{name}.{index}"))
    return path


def _widened_stage(backbone: Backbone, after: str, name: str) -> list[PathBlock]:
    fork, sources = backbone.stage(after), list(backbone.blocks(name))
    side = PROBE_SIZE // fork.stride
    try:
        blocks = widened(sources, fork.channels, side, WIDENING)
    except RuntimeError as error:  # shapes disagree: a shortcut without a layer of its own
        raise InputError(
            f"the branch after {after} of {backbone.name} cannot have {WIDENING} times the width "
            f"of {name}: use model.branch_rule=light"
        ) from error
    return [
        PathBlock(block, source, f"{name}.{index}")
        for index, (block, source) in enumerate(zip(blocks, sources, strict=True))
    ]


def _half(blocks: list[nn.Module], preserving: tuple[bool, ...]) -> Iterator[int]:
    droppable = [same and _convolves(block) for same, block in zip(preserving, blocks, strict=True)]
    for dropped, run in groupby(range(len(blocks)), key=droppable.__getitem__):
        indices = list(run)
        yield from indices[: len(indices) // 2] if dropped else indices


def _first(blocks: list[nn.Module], count: int) -> Iterator[int]:
    """The first ``count`` blocks with a convolution, and all without."""
    for index, block in enumerate(blocks):
        if _convolves(block):
            count -= 1
            if count < 0:
                continue
        yield index


def _convolves(block: nn.Module) -> bool:
    return any(isinstance(module, nn.Conv2d) for module in block.modules())
