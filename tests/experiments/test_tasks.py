"""What training is told of a model."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from reid_dhm.experiments import tasks
from reid_dhm.models.card import ModelCard


def test_the_best_weights_do_not_depend_on_what_a_machine_rounds(monkeypatch):
    seen: list[str] = []

    def evaluate(embedder, dataset, **_):
        seen.append(embedder.precision)
        return SimpleNamespace(mAP=0.5, mINP=0.5, cmc={1: 0.5})

    dataset = SimpleNamespace(name="any", train=[], query=[], gallery=[])
    monkeypatch.setattr(tasks, "load_training_sets", lambda _: [dataset])
    monkeypatch.setattr(tasks, "evaluate_dataset", evaluate)
    test = SimpleNamespace(camera_rule=False, metric="cosine", flip=False)
    task = tasks.build_task(SimpleNamespace(task="reid", test=test))
    card = ModelCard("osnet_x0_25", 1, (64, 32))
    figures = task.evaluator(card, torch.device("cpu"))(card.build())
    assert figures["mAP"] == pytest.approx(0.5)
    assert seen == ["float32"]
