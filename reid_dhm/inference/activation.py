"""Activation maps of the main path: where a network looks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from reid_dhm.data.augmentation import TestTransform
from reid_dhm.data.images import read_image, resize_image
from reid_dhm.devices import parse_device
from reid_dhm.models.card import ModelCard
from reid_dhm.models.reid import ReIDModel

_BATCH = 64


@torch.inference_mode()
def activation_maps(
    model: ReIDModel, card: ModelCard, paths: Sequence[str | Path], device: str = "auto"
) -> NDArray[np.float32]:
    """Sum over channels of the squared last feature map of the trunk, from 0 to 1 per image.

    The activation-based attention map of Zagoruyko and Komodakis (ICLR 2017, section 3.1).

    Args:
        model: moved to the device; side branches are not run.
        card: how the model is fed.
        paths: N image files.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Returns:
        (N, h, w) float32, the size of the last feature map.

    Raises:
        InputError: an unreadable image.
        UnsupportedError: a GPU that PyTorch does not see.
    """
    where = parse_device(device)
    transform = TestTransform(card.size, card.mean, card.std)
    model = model.to(where).eval()
    maps = []
    for start in range(0, len(paths), _BATCH):
        chosen = paths[start : start + _BATCH]
        rows = np.stack([resize_image(read_image(path), card.size) for path in chosen])
        images = torch.from_numpy(rows).to(where).permute(0, 3, 1, 2)
        energy = model.backbone(transform(images))[0].float().square().sum(dim=1)
        energy -= energy.amin(dim=(1, 2), keepdim=True)
        energy /= energy.amax(dim=(1, 2), keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
        maps.append(energy.cpu().numpy())
    return np.concatenate(maps) if maps else np.empty((0, 1, 1), np.float32)
