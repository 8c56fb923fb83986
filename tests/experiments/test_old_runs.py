"""A run that version 0.1 wrote, cut off after two of four epochs, and its result there uncut."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from reid_dhm.config import Config, load_config
from reid_dhm.experiments.run import run_experiment
from reid_dhm.inference.embedder import Embedder
from reid_dhm.models.backbones import Provider, Split
from reid_dhm.models.providers import BACKBONES
from reid_dhm.training.run_folder import read_metrics

OLD = Path(__file__).parents[1] / "data" / "run_of_version_0_1"


def tiny_network() -> nn.Sequential:
    def layer(channels: int, out: int, stride: int) -> nn.Module:
        convolution = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        return nn.Sequential(convolution, nn.BatchNorm2d(out), nn.ReLU())

    widths = [(3, 4, 2), (4, 4, 1), (4, 4, 2), (4, 4, 1), (4, 8, 2), (8, 8, 1)]
    return nn.Sequential(*(layer(*width) for width in widths))


def split_tiny(model: nn.Module) -> Split:
    layers = list(model.children())
    return Split({"first": layers[:2], "middle": layers[2:4], "late": layers[4:]})


@pytest.fixture
def old_run(tmp_path, monkeypatch, write_set) -> Config:
    """A copy of the run, set up to be resumed on the images it was trained on."""
    monkeypatch.setitem(BACKBONES, "tiny", Provider(tiny_network, split_tiny))
    write_set(tmp_path / "data" / "synthetic")
    folder = tmp_path / "run"
    shutil.copytree(OLD, folder)
    overrides = [f"output={folder}", f"data.root={tmp_path / 'data'}", "resume=true"]
    return load_config(folder / "config.yaml", overrides)


def test_an_old_run_resumes_to_the_result_it_had_uncut(old_run):
    best = run_experiment(old_run)
    folder = Path(old_run.output)
    assert [record["epoch"] for record in read_metrics(folder)] == [0, 1, 2, 3]
    expected = load_file(OLD / "whole" / "model.safetensors")
    found = load_file(folder / "last" / "model.safetensors")
    assert found.keys() == expected.keys()
    for name, value in expected.items():  # other processors round differently
        torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-5)
    card = json.loads((OLD / "whole" / "best.json").read_text())
    assert best["epoch"] == card["training"]["epoch"]
    assert best["mAP"] == pytest.approx(card["training"]["mAP"], abs=0.01)


def test_an_old_checkpoint_embeds(old_run, tmp_path):
    embedder = Embedder(old_run.output, engine="torch", precision="float32", normalize=False)
    image = next((tmp_path / "data" / "synthetic" / "query").iterdir())
    vectors = embedder([image])
    weights = load_file(OLD / "best.safetensors")
    network = tiny_network()
    state = {
        f"{2 * group + index}.{rest}": weights[f"backbone.stages.{stage}.{index}.{rest}"]
        for group, stage in enumerate(("first", "middle", "late"))
        for index in range(2)
        for rest in (key.split(".", 1)[1] for key in network[0].state_dict(prefix="x."))
    }
    network.load_state_dict(state)
    pixels = cv2.cvtColor(cv2.imread(str(image)), cv2.COLOR_BGR2RGB).astype(np.float32) / 255
    pixels = (pixels - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    inputs = torch.tensor(pixels, dtype=torch.float32).permute(2, 0, 1)[None]
    features = network.eval()(inputs).mean(dim=(2, 3))
    neck = nn.BatchNorm1d(8)
    neck.load_state_dict(
        {key: weights[f"head.neck.{key}"] for key in neck.state_dict()}, strict=True
    )
    expected = neck.eval()(features).detach().numpy()
    np.testing.assert_allclose(vectors, expected, rtol=1e-3, atol=1e-4)
