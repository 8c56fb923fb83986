"""Readers of weights, cards, graphs and states of a training, with sound samples."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from cases import samples_of

SIZE = (64, 32)


def register_small() -> None:
    """Add a backbone of few layers, so that most time of a case goes to what is tried."""
    from torch import nn

    from reid_dhm.models.backbones import Provider, Split, split_by_stride
    from reid_dhm.models.providers import BACKBONES

    def conv(channels_in: int, channels: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(channels_in, channels, 3, 2, 1), nn.ReLU())

    BACKBONES["small"] = Provider(
        create=lambda: nn.Sequential(conv(3, 8), conv(8, 8), conv(8, 16), conv(16, 16)),
        split=lambda model: Split(split_by_stride(model)),
    )


def save_network(folder: Path) -> None:
    import torch

    from reid_dhm.models.card import ModelCard, save_model

    register_small()
    torch.manual_seed(0)
    card = ModelCard("small", 3, SIZE)
    save_model(card.build().eval(), card, folder / "model.safetensors")


def weights_samples(folder: Path) -> None:
    save_network(folder)
    (folder / "model.json").rename(folder.parent / "card.json")


def read_weights(path: Path) -> None:
    from reid_dhm.inference.checkpoints import open_checkpoint

    register_small()
    shutil.copyfile(samples_of(path) / "card.json", path.with_suffix(".json"))
    open_checkpoint(path)


def card_samples(folder: Path) -> None:
    save_network(folder)
    (folder / "model.safetensors").rename(folder.parent / "weights.safetensors")


def read_card(path: Path) -> None:
    from reid_dhm.inference.checkpoints import open_checkpoint

    register_small()
    weights = path.with_suffix(".safetensors")
    shutil.copyfile(samples_of(path) / "weights.safetensors", weights)
    open_checkpoint(weights)


def pth_samples(folder: Path) -> None:
    import torch

    from reid_dhm.models.torchreid import torchreid_module

    torch.manual_seed(0)
    network = torchreid_module("models").build_model("osnet_x0_25", 3, pretrained=False)
    state = network.state_dict()
    torch.save(state, folder / "a.pth")
    nested = {"state_dict": {f"module.{name}": value for name, value in state.items()}, "epoch": 3}
    torch.save(nested, folder / "b.pth.tar")
    torch.save(state, folder / "c.pth", _use_new_zipfile_serialization=False)


def read_pth(path: Path) -> None:
    from reid_dhm.inference.checkpoints import open_checkpoint

    open_checkpoint(path, "osnet_x0_25", SIZE, "none")


def graph_samples(folder: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    random = np.random.default_rng(0)
    weight = random.standard_normal((16, 3, 3, 3)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["images", "weight"], ["a"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["a"], ["b"]),
            helper.make_node("GlobalAveragePool", ["b"], ["c"]),
            helper.make_node("Flatten", ["c"], ["embeddings"]),
        ],
        "small",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["N", 3, *SIZE])],
        [helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, ["N", 16])],
        [helper.make_tensor("weight", TensorProto.FLOAT, weight.shape, weight.tobytes(), raw=True)],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), folder / "small.onnx")


def read_graph(path: Path) -> None:
    from reid_dhm.inference.checkpoint_file import find_checkpoint
    from reid_dhm.inference.embedder import Embedder

    embedder = Embedder(find_checkpoint(path, None, None, None, "imagenet"), device="cpu")
    embedder([np.zeros((*SIZE, 3), np.uint8)])


def _training(seed: int) -> tuple[dict[str, Any], Any]:
    import torch

    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    model(torch.randn(6, 4)).square().sum().backward()
    optimizer.step()
    return {"model": model}, optimizer


def state_samples(folder: Path) -> None:
    from reid_dhm.training.state import save_state

    save_state(folder / "last", *_training(0), {"epoch": 3, "best": {"mAP": 0.5}})
    for path in (folder / "last").iterdir():
        path.rename(folder / path.name)
    (folder / "last").rmdir()


def read_state(path: Path) -> None:
    """It is as it was saved, or refused."""
    import torch

    from reid_dhm.training.state import load_state

    place = path.parent / "last"
    place.mkdir(exist_ok=True)
    for sound in (samples_of(path) / "files").iterdir():
        shutil.copyfile(path if sound.name == path.name else sound, place / sound.name)
    modules, optimizer = _training(1)
    assert load_state(place, modules, optimizer) == {"epoch": 3, "best": {"mAP": 0.5}}
    for name, tensor in _training(0)[0]["model"].state_dict().items():
        assert torch.equal(modules["model"].state_dict()[name], tensor), name


def cards_samples(folder: Path) -> None:
    (folder / "input.json").write_text(
        json.dumps({"channels": "rgb", "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.1]})
    )
    (folder / "detector.json").write_text(json.dumps({"family": "yolox", "person": 0}))


def read_cards(path: Path) -> None:
    """What is said of a foreign graph, or of a detector."""
    from reid_dhm.gallery.detect.families import read_card
    from reid_dhm.inference.engines.foreign import parse_format

    if path.stem == "input":
        parse_format(str(path))
    else:
        read_card(path)
