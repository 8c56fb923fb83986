"""Activation maps show where the last feature map is strong."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from reid_dhm.errors import InputError
from reid_dhm.inference.activation import activation_maps
from reid_dhm.models.card import ModelCard


@pytest.fixture(scope="module")
def opened():
    torch.manual_seed(0)
    card = ModelCard("resnet18", num_classes=2, size=(64, 32), last_stride=1)
    return card.build().eval(), card


def write(path, image):
    cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return path


def test_a_map_is_the_energy_of_the_feature_map_from_zero_to_one(opened, tmp_path):
    model, card = opened
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (64, 32, 3), np.uint8) for _ in range(3)]
    paths = [write(tmp_path / f"{i}.png", image) for i, image in enumerate(images)]
    found = activation_maps(model, card, paths, device="cpu")
    assert found.shape == (3, 4, 2)
    for image, shown in zip(images, found, strict=True):
        scaled = (image / 255 - np.array(card.mean)) / np.array(card.std)
        batch = torch.tensor(scaled, dtype=torch.float32).permute(2, 0, 1)[None]
        with torch.no_grad():
            feature = model.backbone(batch)[0][0].numpy()
        energy = (feature**2).sum(axis=0)
        expected = (energy - energy.min()) / (energy.max() - energy.min())
        np.testing.assert_allclose(shown, expected, atol=1e-4)


def test_no_images_give_no_maps_and_a_damaged_one_is_named(opened, tmp_path):
    assert len(activation_maps(*opened, [], device="cpu")) == 0
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"broken\.jpg"):
        activation_maps(*opened, [tmp_path / "broken.jpg"], device="cpu")
