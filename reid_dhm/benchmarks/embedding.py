"""Embedding picture files beside torchreid's ``FeatureExtractor``, and beside the bare engine.

All sides run the same network with the same weights on the same files in this process and take
turns, so that whatever else the machine does falls on all of them. torchreid's extractor has its
model replaced by our network in eager PyTorch, which computes what its own would; it is called with
lists of as many paths as suit it best.
"""

from __future__ import annotations

import contextlib
import io
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from torch import nn

from reid_dhm.benchmarks.pipeline import wait_for
from reid_dhm.inference.agreement import cosines
from reid_dhm.inference.embedder import Embedder
from reid_dhm.inference.network import EmbeddingNetwork, installed
from reid_dhm.inference.openvino_engine import has_bf16
from reid_dhm.inference.reading import read_batches
from reid_dhm.inference.torch_engine import cpu_has_bf16, find_device, half_precision
from reid_dhm.models.branches import default_branches
from reid_dhm.models.card import ModelCard
from reid_dhm.models.providers import build_backbone
from reid_dhm.models.reid import ReIDModel
from reid_dhm.models.torchreid import torchreid_module

BACKBONES = ("osnet_x0_25", "osnet_x1_0", "mobilenet_v2", "resnet50")
_PEER_LISTS = (8, 32, 64)  # paths a call that torchreid is tried with
_TRIAL = 64  # pictures of a warm-up

Side = Callable[[int], object]  # embeds so many pictures


@dataclass(frozen=True)
class EngineRates:
    """Pictures a second of one engine, medians over the rounds.

    Attributes:
        engine: its name.
        precision: what it computes in.
        files: from files on disk to embeddings in memory.
        memory: from resized pictures that are in memory already.
        share: the first over the second, round by round.
        cosine: lowest to the peer's embeddings.
    """

    engine: str
    precision: str
    files: float
    memory: float
    share: float
    cosine: float


@dataclass(frozen=True)
class EmbeddingRates:
    """What embedding costs with one network.

    Attributes:
        backbone: its name.
        torchreid: pictures a second of ``FeatureExtractor``, median over the rounds.
        peer_list: paths that it was given at once.
        engines: ours.
        chosen: the engine and precision that ``auto`` takes on these pictures.
        deployed: seconds of an embedding by ``deploy()`` of the network trained with DHM's
            branches over those of the network never branched.
    """

    backbone: str
    torchreid: float
    peer_list: int
    engines: tuple[EngineRates, ...]
    chosen: tuple[str, str]
    deployed: float


def compare_embedding(
    backbone: str,
    paths: Sequence[str],
    size: tuple[int, int] = (256, 128),
    device: str = "auto",
    rounds: int = 3,
    seconds: float = 3.0,
) -> EmbeddingRates:
    """Measure every engine that is there, and torchreid's extractor.

    Args:
        backbone: a key of :data:`reid_dhm.models.providers.BACKBONES`; random weights.
        paths: picture files.
        size: (height, width) of the network's input.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        rounds: turns of each side.
        seconds: about how long a turn lasts, at most as long as all pictures take.
    """
    torch.manual_seed(0)
    card = ModelCard(backbone, num_classes=1, size=size, neck="none", last_stride=2)
    model = card.build().eval()
    place = find_device(device)
    peer, peer_list = _torchreid_extractor(model, card, place, paths)
    expected = peer(paths[:_TRIAL])
    embedders = [
        Embedder((model, card), engine, str(place), normalize=False, precision=precision)
        for engine, precision in _engines(place)
    ]
    decoded = _in_memory(paths, size)
    sides = [_side(peer, paths)]
    for embedder in embedders:
        sides += [_side(embedder, paths), _side(embedder, decoded)]
    agreement = [float(cosines(e(paths[:_TRIAL]), expected).min()) for e in embedders]
    counts = [_pictures_in(side, seconds, len(paths), place) for side in sides]
    rates = [
        [_rate(side, count, place) for side, count in zip(sides, counts, strict=True)]
        for _ in range(rounds)
    ]

    def median(column: int) -> float:
        return statistics.median(row[column] for row in rates)

    auto = Embedder((model, card), device=str(place), normalize=False)
    auto(paths[:_TRIAL])
    return EmbeddingRates(
        backbone=backbone,
        torchreid=median(0),
        peer_list=peer_list,
        engines=tuple(
            EngineRates(
                engine=embedder.engine,
                precision=embedder.precision,
                files=median(1 + 2 * i),
                memory=median(2 + 2 * i),
                share=statistics.median(row[1 + 2 * i] / row[2 + 2 * i] for row in rates),
                cosine=agreement[i],
            )
            for i, embedder in enumerate(embedders)
        ),
        chosen=(auto.engine, auto.precision),
        deployed=deployed_cost(backbone, size, place),
    )


def deployed_cost(
    backbone: str, size: tuple[int, int], device: torch.device, rounds: int = 9
) -> float:
    """How many times longer ``deploy()`` takes than the network never branched; 1 is the aim.

    Both embed the same batch in eager PyTorch and take turns; the median of the ratios counts.
    """
    trunk = build_backbone(backbone, last_stride=2)
    plain = ReIDModel(trunk, 1, neck="none").eval().to(device)
    branched = ReIDModel(build_backbone(backbone), 1, default_branches(trunk), neck="none")
    deployed = branched.deploy().to(device)
    batch = torch.randn(8, 3, *size, device=device)

    def seconds(model: ReIDModel) -> float:
        wait_for(device)
        start = time.perf_counter()
        with torch.inference_mode():
            model.embed(batch)
        wait_for(device)
        return time.perf_counter() - start

    seconds(plain), seconds(deployed)
    return statistics.median(seconds(deployed) / seconds(plain) for _ in range(rounds))


def memory_over(
    embedder: Embedder, paths: Sequence[str], count: int, every: int = 2000
) -> list[tuple[int, int]]:
    """Resident memory while ``count`` pictures are embedded, the files taken again and again.

    Returns:
        Pairs of pictures done and bytes resident, about every ``every`` pictures.
    """
    process = psutil.Process()
    found: list[tuple[int, int]] = []
    wanted = (paths[i % len(paths)] for i in range(count))
    for batch in embedder.stream(wanted):
        if not found or batch.end - found[-1][0] >= every or batch.end == count:
            found.append((batch.end, process.memory_info().rss))
    return found


def _engines(device: torch.device) -> list[tuple[str, str]]:
    """Engines and precisions that can run on the device."""
    if device.type == "cuda":
        return [("torch", "float32"), ("torch", half_precision(device))]
    found = [("torch", "float32")]
    if cpu_has_bf16():
        found.append(("torch", "bf16"))
    if installed("onnxruntime", "onnx"):
        found.append(("onnxruntime", "float32"))
    if installed("openvino", "onnx"):
        found.append(("openvino", "float32"))
        if has_bf16():
            found.append(("openvino", "bf16"))
    return found


def _torchreid_extractor(
    model: ReIDModel, card: ModelCard, device: torch.device, paths: Sequence[str]
) -> tuple[Callable[[Sequence[str]], np.ndarray], int]:
    """Their extractor around our network, and how many paths a call suit it best."""
    extractor_class = torchreid_module("utils").FeatureExtractor
    any_model = torchreid_module("models").build_model("osnet_x0_25", 1, pretrained=False)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        weights = Path(folder) / "any.pth"  # without a file it would download one
        torch.save(any_model.state_dict(), weights)
        extractor = extractor_class(
            "osnet_x0_25", str(weights), card.size, device=str(device), verbose=False
        )
    network: nn.Module = EmbeddingNetwork(model.deploy(), card).eval()
    extractor.model = network.to(device)

    def in_lists(pictures: Sequence[str], length: int) -> np.ndarray:
        starts = range(0, len(pictures), length)
        found = [extractor(list(pictures[i : i + length])).cpu().numpy() for i in starts]
        return np.concatenate(found)

    in_lists(paths[:8], 8)
    seconds = {
        length: _seconds(partial(in_lists, paths[:_TRIAL], length), device)
        for length in _PEER_LISTS
    }
    best = min(seconds, key=lambda length: seconds[length])
    return partial(in_lists, length=best), best


def _in_memory(paths: Sequence[str], size: tuple[int, int]) -> np.ndarray:
    (batch,) = read_batches(paths, len(paths), size)
    for _, error in batch.faults:
        raise error
    return batch.pictures


def _side(embed: Callable[[Any], np.ndarray], pictures: Any) -> Side:
    return lambda count: embed(pictures[:count])


def _pictures_in(side: Side, seconds: float, most: int, device: torch.device) -> int:
    """How many pictures a side does in about so many seconds."""
    trial = min(_TRIAL, most)
    spent = _seconds(lambda: side(trial), device)
    return max(trial, min(most, int(trial * seconds / spent)))


def _rate(side: Side, count: int, device: torch.device) -> float:
    return count / _seconds(lambda: side(count), device)


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    wait_for(device)
    start = time.perf_counter()
    work()
    wait_for(device)
    return time.perf_counter() - start
