"""The "how to add" examples of docs/architecture.md, run as they stand there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from reid_dhm.config import Config
from reid_dhm.data import datasets
from reid_dhm.experiments.build import build_criterion, build_model
from reid_dhm.models import providers
from reid_dhm.models.heads import ReIDOutput
from reid_dhm.training import losses

PAGE = Path(__file__).parents[1] / "docs" / "architecture.md"


def run_example(title: str) -> dict[str, Any]:
    section = PAGE.read_text().split(f"## {title}\n")[1].split("\n## ")[0]
    blocks = re.findall(r"```python\n(.*?)```", section, flags=re.DOTALL)
    assert len(blocks) == 1
    names: dict[str, Any] = {}
    exec(compile(blocks[0], str(PAGE), "exec"), names)
    return names


def output(features: torch.Tensor) -> ReIDOutput:
    return ReIDOutput(features, features, torch.zeros(len(features), 2))


def test_an_added_backbone_trains_with_branches_and_deploys_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(providers, "BACKBONES", dict(providers.BACKBONES))
    run_example("Add a backbone")
    config = Config()
    config.model.backbone, config.model.weights, config.model.size = "tiny", None, [64, 32]
    model, _ = build_model(config, num_classes=4, size=(64, 32))
    outputs = model(torch.randn(4, 3, 64, 32))
    assert len(outputs) == 3
    build_criterion(config)(outputs, torch.tensor([0, 0, 1, 1]))["total"].backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    assert not model.deploy().branches


def test_an_added_dataset_loads_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets, "LOADERS", dict(datasets.LOADERS))
    run_example("Add a dataset")
    for folder, pid in (("bounding_box_train", 1), ("query", 7), ("bounding_box_test", 7)):
        (tmp_path / "Shop-2026" / folder).mkdir(parents=True)
        for camid in (1, 2):
            name = f"person{pid:02d}_cam{camid}_000451.jpg"
            image = np.full((16, 8, 3), 90, np.uint8)
            cv2.imwrite(str(tmp_path / "Shop-2026" / folder / name), image)
    dataset = datasets.load_dataset("shop", tmp_path)
    assert [(s.pid, s.camid) for s in dataset.query] == [(7, 1), (7, 2)]


def test_an_added_loss_is_used_by_every_head(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "METRIC_LOSSES", dict(losses.METRIC_LOSSES))
    names = run_example("Add a loss")
    features = torch.tensor([[0.0, 0.0], [2.0, 0.0], [5.0, 5.0]])
    labels = torch.tensor([0, 0, 1])
    assert names["centre_loss"](features, labels).item() == pytest.approx(2 / 3)
    config = Config(method="dsl")
    config.loss.metric = "centre"
    criterion = build_criterion(config)
    outputs = [output(features), output(features)]
    assert criterion(outputs, labels)["metric"].item() == pytest.approx(4 / 3)
