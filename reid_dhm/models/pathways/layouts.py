"""Branches of the DHM authors' released networks (Li & Chen, CVPR 2020), as data."""

from __future__ import annotations

# (stage mirrored, planes, blocks) per branch, keyed by the stage it forks after: ImageNet models.
RESNET_LAYOUT: dict[str, dict[str, tuple[tuple[str, int, int], ...]]] = {
    name: {
        "layer2": (("layer3", 256, layer3), ("layer4", 512, 2)),
        "layer3": (("layer4", 1024, wide),),
    }
    for name, layer3, wide in (
        ("resnet18", 1, 2),
        ("resnet34", 3, 3),
        ("resnet50", 3, 3),
        ("resnet101", 12, 3),
        ("resnet152", 18, 3),
    )
}

# Blocks (layers of a dense block) in each later stage, keyed by the stage forked after: CIFAR.
REFERENCE_BLOCKS: dict[str, dict[str, tuple[int, ...]]] = {
    name: {"layer1": early, "layer2": last}
    for name, early, last in (
        ("cifar_resnet32", (5, 3), (5,)),
        ("cifar_resnet110", (9, 9), (18,)),
        ("cifar_wrn16_8", (2, 1), (2,)),
        ("cifar_wrn28_10", (4, 2), (4,)),
        ("cifar_wrn28_10_dropout", (4, 2), (4,)),
        ("cifar_densenet40_12", (12, 6), (12,)),
        ("cifar_densenet_bc100_12", (16, 16), (32,)),
        ("cifar_densenet_bc250_24", (22, 22), (41,)),
        ("cifar_densenet_bc190_40", (16, 16), (31,)),
    )
}

WIDENING = 2
"""Width of the last fork's branch, relative to the trunk's last stage."""
DENSE_WIDENING = 3
"""The same for the growth rate of DenseNets."""


def tabulated_blocks(backbone: str, after: str, rule: str) -> tuple[int, ...] | None:
    """Blocks in each later stage of a released network's branch, or ``None`` if none is known."""
    return REFERENCE_BLOCKS.get(backbone, {}).get(after) if rule == "reference" else None
