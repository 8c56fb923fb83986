import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from reid_dhm.inference.checkpoints import open_checkpoint
from reid_dhm.inference.default import DEFAULT_CHECKPOINT, write_slim
from reid_dhm.inference.embedder import Embedder
from reid_dhm.models.branch_spec import BranchSpec
from reid_dhm.models.card import ModelCard, card_path, save_model

CARD = ModelCard(
    "mobilenet_v2", num_classes=7, size=(64, 32), branches=(BranchSpec("stage3"),),
    training={"method": "dhm"},
)  # fmt: skip


def test_the_model_that_ships_is_small_and_says_what_it_is():
    tensors = load_file(DEFAULT_CHECKPOINT)
    assert DEFAULT_CHECKPOINT.stat().st_size <= 5_000_000
    assert {t.dtype for t in tensors.values() if t.is_floating_point()} == {torch.float16}
    card = (DEFAULT_CHECKPOINT.parent / "MODEL_CARD.md").read_text()
    for needed in ("Market-1501", "research only", "rank-1", "mAP", "Intended use", "Limits"):
        assert needed in card
    training = json.loads(card_path(DEFAULT_CHECKPOINT).read_text())["training"]
    assert training["data"] == ["market1501"]
    assert training["method"] == "dhm"


def test_the_model_that_ships_embeds_in_float32_by_the_ordinary_way():
    model, card = open_checkpoint(DEFAULT_CHECKPOINT)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert (card.branches, card.num_classes) == ((), 1)
    images = np.random.default_rng(0).integers(0, 256, (4, 128, 64, 3), np.uint8)
    rows = Embedder((model, card), engine="torch", device="cpu")(images)
    assert rows.shape == (4, 1280)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)
    assert (rows @ rows.T)[np.triu_indices(4, 1)].max() < 0.999


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    model = CARD.build()
    for layer in model.modules():
        if isinstance(layer, torch.nn.modules.batchnorm._BatchNorm):
            layer.momentum = None
    with torch.no_grad():
        model.train()(torch.randn(8, 3, 64, 32))
    path = tmp_path_factory.mktemp("run") / "best.safetensors"
    save_model(model.eval(), CARD, path)
    return path


def test_a_slim_model_embeds_as_the_checkpoint_but_for_rounding(checkpoint, tmp_path):
    slim = tmp_path / "slim.safetensors"
    write_slim(checkpoint, slim)
    images = np.random.default_rng(0).integers(0, 256, (8, 64, 32, 3), np.uint8)
    rows = [Embedder(path, engine="torch", device="cpu")(images) for path in (checkpoint, slim)]
    cosines = (rows[0] * rows[1]).sum(axis=1)
    assert (cosines > 0.9995).all()
    assert not np.array_equal(*rows)  # it was rounded


def test_a_slim_model_leaves_out_what_nobody_needs(checkpoint, tmp_path):
    slim = tmp_path / "slim.safetensors"
    write_slim(checkpoint, slim)
    names = load_file(slim).keys()
    assert not any(name.startswith("branches.") for name in names)
    assert load_file(slim)["head.classifier.weight"].shape[0] == 1
    _, card = open_checkpoint(slim)
    assert card.training == {"method": "dhm"}
    assert slim.stat().st_size < checkpoint.stat().st_size / 3
