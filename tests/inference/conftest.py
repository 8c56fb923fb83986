"""What the tests of engines and exports share: networks whose embeddings differ, and images."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from reid_dhm import extras
from reid_dhm.models.branch_spec import BranchSpec
from reid_dhm.models.card import ModelCard
from reid_dhm.models.reid import ReIDModel

SIZE = (64, 32)

NETWORKS = {
    "resnet18": ModelCard("resnet18", 3, SIZE, last_stride=2),
    "mobilenet_v2": ModelCard("mobilenet_v2", 3, SIZE),
    "osnet_x0_25": ModelCard("osnet_x0_25", 3, SIZE, neck="none"),
    "mobilenet_v3_small GeM": ModelCard("mobilenet_v3_small", 3, SIZE, pooling="gem"),
    "resnet18 ensemble": ModelCard(
        "resnet18", 3, SIZE, branches=(BranchSpec("layer2"),), embedding="ensemble"
    ),
}


class Case(NamedTuple):
    """A network, images, and their embeddings by the definition, not normalised."""

    model: ReIDModel
    card: ModelCard
    images: np.ndarray
    expected: np.ndarray

    def cosines(self, found: np.ndarray) -> np.ndarray:
        """Of found embeddings to the expected ones."""
        a, b = torch.from_numpy(found).double(), torch.from_numpy(self.expected).double()
        return F.cosine_similarity(a, b).numpy()


def make_case(name: str) -> Case:
    torch.manual_seed(0)
    card = NETWORKS[name]
    model = card.build()
    # An untrained network's embeddings hardly differ from each other unless its normalisations know
    # the statistics of real activations; all engines would agree.
    for layer in model.modules():
        if isinstance(layer, torch.nn.modules.batchnorm._BatchNorm):
            layer.momentum = None
    with torch.no_grad():
        model.train()(torch.randn(8, 3, *SIZE))
    model.eval()
    patches = np.random.default_rng(0).integers(0, 256, (12, 8, 4, 3), np.uint8)
    size = (SIZE[1], SIZE[0])
    images = np.stack([cv2.resize(p, size, interpolation=cv2.INTER_CUBIC) for p in patches])
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    x = (x - torch.tensor(card.mean)[:, None, None]) / torch.tensor(card.std)[:, None, None]
    with torch.inference_mode():
        if card.embedding == "ensemble":
            heads = torch.cat([F.normalize(out.embeddings) for out in model(x)], dim=1)
        else:
            heads = model.embed(x)
    return Case(model, card, images, heads.numpy())


@pytest.fixture(scope="session", params=NETWORKS)
def case(request: pytest.FixtureRequest) -> Case:
    """Every network in turn."""
    return make_case(request.param)


@pytest.fixture(scope="session")
def resnet() -> Case:
    """The smallest of them, where the network does not matter."""
    return make_case("resnet18")


@pytest.fixture
def uninstall(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes a package look as if it were not installed."""

    def hide(package: str) -> None:
        find = importlib.util.find_spec
        for module in (importlib.util, extras):
            monkeypatch.setattr(
                module, "find_spec", lambda name: None if name == package else find(name)
            )

    return hide
