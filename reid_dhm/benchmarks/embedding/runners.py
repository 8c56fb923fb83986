"""The networks of the embedding benchmark, and torchreid's ``FeatureExtractor`` around them."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from reid_dhm.benchmarks.harness import seconds
from reid_dhm.data.augmentation import TestTransform
from reid_dhm.devices import parse_device
from reid_dhm.inference.checkpoints import open_checkpoint
from reid_dhm.inference.default import DEFAULT_CHECKPOINT
from reid_dhm.inference.engines.network import EmbeddingNetwork
from reid_dhm.inference.reading import read_batches
from reid_dhm.models.card import ModelCard
from reid_dhm.models.reid import ReIDModel
from reid_dhm.models.torchreid import torchreid_module

_PEER_LISTS = (8, 32, 64)  # numbers of paths per call to try with torchreid
_SETTLING = 32  # images from which batch norm statistics are computed


def make_network(
    backbone: str, size: tuple[int, int], paths: Sequence[str]
) -> tuple[ReIDModel, ModelCard]:
    """A fixed network in eval mode whose embeddings differ between images.

    MobileNetV2 is the packaged model, at another input size. The others have random weights and
    batch norm statistics of some of the images; without them all embeddings would be nearly equal
    and the engines would agree trivially.
    """
    if backbone == "mobilenet_v2":
        model, card = open_checkpoint(DEFAULT_CHECKPOINT)
        assert isinstance(model, ReIDModel)
        return model, replace(card, size=size)
    torch.manual_seed(0)
    card = ModelCard(backbone, num_classes=1, size=size, neck="none", last_stride=2)
    model = card.build().train()
    for layer in model.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.momentum = None  # take the statistics of this batch
    images = torch.from_numpy(in_memory(paths[:_SETTLING], size)).permute(0, 3, 1, 2)
    with torch.no_grad():
        model(TestTransform(size, card.mean, card.std)(images))
    return model.eval(), card


def torchreid_extractor(
    model: ReIDModel, card: ModelCard, device: torch.device
) -> Callable[[Sequence[str], int], np.ndarray]:
    """A function of paths and paths per call: torchreid's extractor around our network."""
    extractor_class = torchreid_module("utils").FeatureExtractor
    any_model = torchreid_module("models").build_model("osnet_x0_25", 1, pretrained=False)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        weights = Path(folder) / "any.pth"  # without a file it downloads one
        torch.save(any_model.state_dict(), weights)
        extractor = extractor_class(
            "osnet_x0_25", str(weights), card.size, device=str(device), verbose=False
        )
    network: nn.Module = EmbeddingNetwork(model.deploy(), card).eval()
    extractor.model = network.to(device)

    def in_lists(images: Sequence[str], length: int) -> np.ndarray:
        starts = range(0, len(images), length)
        found = [extractor(list(images[i : i + length])).cpu().numpy() for i in starts]
        return np.concatenate(found)

    return in_lists


def peer_alone(
    backbone: str, paths: Sequence[str], size: tuple[int, int], device: str
) -> dict[str, Any]:
    """The fastest number of paths per call for torchreid, and its rate; best of three trials."""
    place = parse_device(device)
    in_lists = torchreid_extractor(*make_network(backbone, size, paths), place)
    in_lists(paths, max(_PEER_LISTS))
    trials = [
        (seconds(partial(in_lists, paths, length)), length)
        for _ in range(3)
        for length in _PEER_LISTS
    ]
    spent, length = min(trials)
    return {"list": length, "rate": len(paths) / spent}


def in_memory(paths: Sequence[str], size: tuple[int, int]) -> np.ndarray:
    """(N, H, W, 3) uint8 RGB of N files; the first unreadable file raises its error."""
    (batch,) = read_batches(paths, len(paths), size)
    for _, error in batch.faults:
        raise error
    return batch.images
