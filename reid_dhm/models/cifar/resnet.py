"""ResNet-32 and ResNet-110 for CIFAR (He et al. 2016, section 4.2)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from reid_dhm.models.cifar.network import StagedNetwork, convolution

_WIDTHS = (16, 32, 64)


class PlainShortcutBlock(nn.Module):
    """Two 3×3 convolutions beside a shortcut without parameters (option A).

    Where the block halves the resolution the shortcut averages 2×2 pixels, as in the DHM authors'
    networks (the paper takes every other pixel); channels that are missing are zero.
    """

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = convolution(channels, out, stride=stride), nn.BatchNorm2d(out)
        self.conv2, self.bn2 = convolution(out, out), nn.BatchNorm2d(out)
        self.shortcut = nn.AvgPool2d(2, ceil_mode=True) if stride == 2 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → (B, out, H / stride, W / stride)."""
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        shortcut = self.shortcut(x)
        missing = out.shape[1] - shortcut.shape[1]
        return F.relu(out + F.pad(shortcut, (0, 0, 0, 0, 0, missing)))


def cifar_resnet(depth: int) -> StagedNetwork:
    """A ResNet of 6n + 2 layers: n blocks of 16, 32 and 64 channels."""
    count, channels = (depth - 2) // 6, _WIDTHS[0]
    stages: dict[str, list[nn.Module]] = {
        "stem": [convolution(3, channels), nn.BatchNorm2d(channels), nn.ReLU()]
    }
    for number, width in enumerate(_WIDTHS, start=1):
        blocks: list[nn.Module] = []
        for index in range(count):
            stride = 2 if number > 1 and index == 0 else 1
            blocks.append(PlainShortcutBlock(channels, width, stride))
            channels = width
        stages[f"layer{number}"] = blocks
    return StagedNetwork(stages)
