from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest
import torch

from reid_dhm.cli import main
from reid_dhm.models.card import ModelCard, save_model

SIZE = (64, 32)


class Outcome(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


Run = Callable[..., Outcome]


@pytest.fixture
def run(capsys) -> Run:
    """Runs a command in this process."""

    def run(*arguments: object) -> Outcome:
        with pytest.raises(SystemExit) as caught:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return Outcome(caught.value.code or 0, out, err)

    return run


@pytest.fixture(scope="session")
def market(tmp_path_factory) -> Path:
    """Four people, each a noise pattern seen by three cameras, in Market-1501's layout."""
    root = tmp_path_factory.mktemp("market") / "Market-1501-v15.09.15"
    random = np.random.default_rng(0)
    splits = {"bounding_box_train": (1, 2), "query": (3, 4), "bounding_box_test": (0, 3, 4)}
    patterns = {pid: random.integers(0, 200, (8, 4, 3), np.uint8) for pid in range(5)}
    for split, people in splits.items():
        (root / split).mkdir(parents=True)
        for pid in people:
            for camera in (1, 2, 3):
                image = cv2.resize(patterns[pid], (32, 64), interpolation=cv2.INTER_NEAREST)
                image += random.integers(0, 20, image.shape, np.uint8)
                name = f"{pid:04}_c{camera}s1_{camera:06}_01.png"
                cv2.imwrite(str(root / split / name), image)
    for jpeg in sorted(root.rglob("*.png")):
        jpeg.rename(jpeg.with_suffix(".jpg"))  # content decides how an image is decoded
    return root


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory) -> Path:
    """A run folder whose model, though untrained, can tell noise patterns apart."""
    torch.manual_seed(0)
    card = ModelCard("resnet18", num_classes=2, size=SIZE)
    folder = tmp_path_factory.mktemp("runs") / "run"
    save_model(card.build(), card, folder / "best.safetensors")
    return folder
