import json
import os

import numpy as np
import pytest
import torch

from reid_dhm.errors import InputError
from reid_dhm.models.branch_spec import BranchSpec
from reid_dhm.models.card import ModelCard, card_path, load_model, read_card, save_model

BRANCHED = ModelCard(
    backbone="mobilenet_v3_small",
    num_classes=5,
    size=(64, 32),
    pooling="gem",
    last_stride=1,
    branches=(BranchSpec("stage2", "copy"), BranchSpec("stage3")),
    mean=(0.1, 0.2, 0.3),
    embedding="ensemble",
    training={"method": "dhm", "seed": 3},
)
PLAIN = ModelCard(backbone="osnet_x0_25", num_classes=5, neck="none", last_stride=2)


@pytest.fixture
def saved(tmp_path):
    """A card that can be read, and broken by a test."""
    path = tmp_path / "model.json"
    path.write_text(json.dumps({"backbone": "osnet_x0_25", "num_classes": 5, "size": [64, 32]}))
    return path


@pytest.mark.parametrize("card", [BRANCHED, PLAIN], ids=["branched", "plain"])
@torch.no_grad()
def test_a_model_comes_back_bit_for_bit(tmp_path, unsettle, card):
    model = unsettle(card.build()).eval()
    path = tmp_path / "runs" / "best.safetensors"
    save_model(model, card, path)
    loaded, read = load_model(path)
    assert read == card
    assert not loaded.training
    images = torch.randn(2, 3, 64, 32)
    for left, right in zip(loaded(images), model(images), strict=True):
        assert all(map(torch.equal, left, right))
    assert sorted(p.name for p in path.parent.iterdir()) == ["best.json", "best.safetensors"]


@torch.no_grad()
def test_a_deployed_model_comes_back_without_branches(tmp_path):
    model = BRANCHED.build().eval()
    plain = ModelCard(backbone="mobilenet_v3_small", num_classes=5, pooling="gem")
    save_model(model.deploy(), plain, tmp_path / "m.safetensors")
    loaded, _ = load_model(tmp_path / "m.safetensors")
    images = torch.randn(2, 3, 64, 32)
    assert len(loaded.branches) == 0
    assert torch.equal(loaded.embed(images), model.embed(images))


def test_a_second_save_replaces_the_first(tmp_path):
    path = tmp_path / "m.safetensors"
    for _ in range(2):
        model = PLAIN.build()
        save_model(model, PLAIN, path)
    loaded, _ = load_model(path)
    first, second = loaded.state_dict().values(), model.state_dict().values()
    assert all(map(torch.equal, first, second))


def test_the_files_have_the_rights_that_the_umask_leaves(tmp_path):
    before = os.umask(0o027)
    try:
        save_model(PLAIN.build(), PLAIN, tmp_path / "m.safetensors")
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o640}


def test_channels_last_weights_are_stored(tmp_path):
    model = PLAIN.build().to(memory_format=torch.channels_last)
    save_model(model, PLAIN, tmp_path / "m.safetensors")
    loaded, _ = load_model(tmp_path / "m.safetensors")
    assert all(map(torch.equal, loaded.state_dict().values(), model.state_dict().values()))


def test_a_card_that_cannot_be_written_leaves_the_old_model_alone(tmp_path):
    path = tmp_path / "m.safetensors"
    save_model(PLAIN.build(), PLAIN, path)
    before = path.read_bytes(), card_path(path).read_bytes()
    broken = ModelCard("osnet_x0_25", 5, neck="none", training={"mAP": np.float32(0.5)})
    with pytest.raises(TypeError, match=r"float32"):
        save_model(PLAIN.build(), broken, path)
    assert (path.read_bytes(), card_path(path).read_bytes()) == before
    assert len(list(tmp_path.iterdir())) == 2


def test_fields_left_out_take_their_defaults(saved):
    assert read_card(saved) == ModelCard("osnet_x0_25", 5, size=(64, 32))


def test_weights_without_a_card_are_refused(tmp_path):
    save_model(PLAIN.build(), PLAIN, tmp_path / "m.safetensors")
    (tmp_path / "m.json").unlink()
    with pytest.raises(InputError, match=r"m.json is missing.*card beside it"):
        load_model(tmp_path / "m.safetensors")


def test_weights_of_another_card_are_refused(tmp_path):
    save_model(PLAIN.build(), PLAIN, tmp_path / "m.safetensors")
    card_path(tmp_path / "m.safetensors").write_text(
        json.dumps({"backbone": "osnet_x0_25", "num_classes": 6, "neck": "none"})
    )
    with pytest.raises(InputError, match=r"m.safetensors does not fit.*classifier.weight"):
        load_model(tmp_path / "m.safetensors")


def test_unknown_fields_are_refused_by_name(saved):
    saved.write_text(json.dumps({**json.loads(saved.read_text()), "colour": "red"}))
    with pytest.raises(InputError, match=r"model.json has an unknown field 'colour'"):
        read_card(saved)


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"[]",
        b"\xff\xfe\x00",
        b'{"num_classes": 5}',
        b'{"backbone": "osnet_x0_25", "num_classes": ' + b"9" * 5000 + b"}",
        b"[" * 100_000,
        b'{"backbone": "osnet_x0_25", "num_classes": 5, "size": 3}',
        b'{"backbone": "osnet_x0_25", "num_classes": 5, "branches": [{"stage": "conv2"}]}',
    ],
    ids=["cut", "list", "binary", "incomplete", "digits", "depth", "size", "branch"],
)
def test_malformed_cards_are_refused(saved, content):
    saved.write_bytes(content)
    with pytest.raises(InputError, match=r"model.json is not a card .*export the model again"):
        read_card(saved)


@pytest.mark.parametrize(
    "field",
    [
        {"num_classes": "5"},
        {"mean": [0.5]},
        {"std": ["a", "b", "c"]},
        {"training": "x"},
        {"backbone": ["a"]},
        {"size": [64.5, 32]},
        {"size": [0, 32]},
        {"last_stride": True},
        {"num_classes": 10**12},
        {"std": [0, 1, 1]},
        {"std": [1, 1, -1]},
        {"mean": [float("nan"), 0, 0]},
        {"training": {"data": 5}},
        {"training": {"data": ["market1501", None]}},
    ],
    ids=str,
)
def test_a_value_of_another_type_is_refused_by_name(saved, field):
    saved.write_text(json.dumps({**json.loads(saved.read_text()), **field}))
    with pytest.raises(InputError, match=rf"model.json is not a card \(its {next(iter(field))} "):
        read_card(saved)


def test_a_card_of_an_unknown_backbone_is_refused(saved):
    saved.write_text('{"backbone": "vgg16", "num_classes": 5}')
    with pytest.raises(InputError, match=r"vgg16"):
        read_card(saved).build()
