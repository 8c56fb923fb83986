"""The evaluation of a model in training."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from reid_dhm.data.samples import Sample
from reid_dhm.errors import InputError
from reid_dhm.experiments import tasks
from reid_dhm.models.card import ModelCard

SEEN = Sample(Path("a.jpg"), pid=1, camid=1)


def test_the_best_weights_do_not_depend_on_what_a_machine_rounds(monkeypatch):
    seen: list[str] = []

    def evaluate(embedder, dataset, **_):
        seen.append(embedder.precision)
        return SimpleNamespace(mAP=0.5, mINP=0.5, cmc={1: 0.5})

    dataset = SimpleNamespace(name="any", train=[], query=[SEEN], gallery=[SEEN])
    monkeypatch.setattr(tasks, "check_images", lambda samples: None)
    monkeypatch.setattr(tasks, "load_training_sets", lambda _: [dataset])
    monkeypatch.setattr(tasks, "evaluate_dataset", evaluate)
    test = SimpleNamespace(camera_rule=False, metric="cosine", flip=False)
    config = SimpleNamespace(task="reid", test=test, data=SimpleNamespace(name=["any"]))
    task = tasks.build_task(config)
    card = ModelCard("osnet_x0_25", 1, (64, 32))
    figures = task.evaluator(card, torch.device("cpu"))(card.build())
    assert figures["mAP"] == pytest.approx(0.5)
    assert seen == ["float32"]


def evaluator_of(monkeypatch, query: list[Sample], gallery: list[Sample], camera_rule: bool):
    dataset = SimpleNamespace(name="shop", train=[], query=query, gallery=gallery)
    monkeypatch.setattr(tasks, "load_training_sets", lambda _: [dataset])
    monkeypatch.setattr(tasks, "check_images", lambda samples: None)
    test = SimpleNamespace(camera_rule=camera_rule, metric="cosine", flip=False)
    config = SimpleNamespace(task="reid", test=test, data=SimpleNamespace(name=["folder"]))
    return tasks.build_task(config).evaluator


@pytest.mark.parametrize("camera_rule", [True, False])
def test_query_and_gallery_without_a_common_person_are_refused_as_such(monkeypatch, camera_rule):
    other = Sample(Path("b.jpg"), pid=2, camid=2)
    evaluator = evaluator_of(monkeypatch, [SEEN], [other], camera_rule)
    with pytest.raises(InputError, match="query and gallery of shop share no person: check"):
        evaluator(ModelCard("osnet_x0_25", 1), torch.device("cpu"))


def test_people_of_one_camera_are_refused_under_the_camera_rule_alone(monkeypatch):
    again = Sample(Path("b.jpg"), pid=1, camid=1)
    refused = evaluator_of(monkeypatch, [SEEN], [again], camera_rule=True)
    with pytest.raises(InputError, match="no query of shop has a correct gallery image from anoth"):
        refused(ModelCard("osnet_x0_25", 1), torch.device("cpu"))
    evaluator_of(monkeypatch, [SEEN], [again], False)(ModelCard("six", 1), torch.device("cpu"))
