"""Wide ResNets for CIFAR (Zagoruyko & Komodakis 2016)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from reid_dhm.models.cifar.network import StagedNetwork, convolution


class PreActivationBlock(nn.Module):
    """Two normalised, rectified 3×3 convolutions; a 1×1 shortcut where the width changes."""

    def __init__(self, channels: int, out: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(channels), convolution(channels, out, stride=stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(out), convolution(out, out)
        self.dropout = nn.Dropout(dropout)
        same = channels == out and stride == 1
        self.shortcut = None if same else convolution(channels, out, kernel=1, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → (B, out, H / stride, W / stride)."""
        active = F.relu(self.bn1(x))
        out = self.dropout(F.relu(self.bn2(self.conv1(active))))
        return self.conv2(out) + (x if self.shortcut is None else self.shortcut(active))


def cifar_wide_resnet(depth: int, factor: int, dropout: float = 0.0) -> StagedNetwork:
    """A WRN of 6n + 4 layers: n blocks of 16, 32 and 64 channels, times ``factor``."""
    count, channels = (depth - 4) // 6, 16
    stages: dict[str, list[nn.Module]] = {"stem": [convolution(3, channels)]}
    for number, width in enumerate((16 * factor, 32 * factor, 64 * factor), start=1):
        blocks: list[nn.Module] = []
        for index in range(count):
            stride = 2 if number > 1 and index == 0 else 1
            blocks.append(PreActivationBlock(channels, width, stride, dropout))
            channels = width
        stages[f"layer{number}"] = blocks
    stages["layer3"] += [nn.BatchNorm2d(channels), nn.ReLU()]
    return StagedNetwork(stages)
