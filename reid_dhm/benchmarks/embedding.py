"""Embedding image files beside torchreid's ``FeatureExtractor``, and beside the bare engine.

All sides run the same network with the same weights on the same files in this process and take
turns, in another order every round, so that whatever else the machine does falls on all of them.
torchreid's extractor has its model replaced by our network in eager PyTorch, which computes what
its own would; it is called with lists of as many paths as suit it best.
"""

from __future__ import annotations

import logging
import random
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice

import numpy as np
import psutil
import torch

from reid_dhm.benchmarks.embedding_runners import (
    in_memory,
    make_network,
    peer_alone,
    seconds_of,
    torchreid_extractor,
)
from reid_dhm.benchmarks.harness import in_a_process
from reid_dhm.benchmarks.pipeline import wait_for
from reid_dhm.devices import parse_device
from reid_dhm.errors import InputError
from reid_dhm.inference.embedder import Embedder
from reid_dhm.inference.engines.agreement import Engine, cosines
from reid_dhm.inference.engines.selection import available
from reid_dhm.models.branches import default_branches
from reid_dhm.models.providers import build_backbone
from reid_dhm.models.reid import ReIDModel

logger = logging.getLogger(__name__)

BACKBONES = ("osnet_x0_25", "osnet_x1_0", "mobilenet_v2", "resnet50")
_PEER_TURN = 256  # images, at least, that torchreid embeds in a turn: whole lists of each length
_TRIAL = 64  # images of a warm-up

Rates = tuple[float, ...]
"""Images a second, one figure a round."""


@dataclass(frozen=True)
class EngineRates:
    """What one engine does.

    Attributes:
        engine: its name.
        precision: what it computes in.
        files: from files on disk to embeddings in memory.
        bare: from batches of resized images in memory, by the engine alone.
        cosine: lowest to the peer's embeddings.
    """

    engine: str
    precision: str
    files: Rates
    bare: Rates
    cosine: float

    @property
    def share(self) -> Rates:
        """What of the engine's own rate is reached from files, round by round."""
        return tuple(f / b for f, b in zip(self.files, self.bare, strict=True))


@dataclass(frozen=True)
class EmbeddingRates:
    """What embedding costs with one network.

    Attributes:
        backbone: its name.
        torchreid: ``FeatureExtractor`` from files.
        peer_list: paths that it was given at once.
        torchreid_alone: its best rate in a process of its own, before everything else.
        engines: ours.
        chosen: the engine and precision that ``auto`` takes on these images.
        deployed: seconds of an embedding by ``deploy()`` of the network trained with DHM's
            branches over those of the network never branched.
    """

    backbone: str
    torchreid: Rates
    peer_list: int
    torchreid_alone: float
    engines: tuple[EngineRates, ...]
    chosen: tuple[str, str]
    deployed: float


@dataclass(frozen=True)
class _Side:
    """What takes turns: ``embed(count)`` embeds so many images."""

    name: tuple[str, ...]
    embed: Callable[[int], object]
    count: int


def compare_embedding(
    backbone: str,
    paths: Sequence[str],
    size: tuple[int, int] = (256, 128),
    device: str = "auto",
    rounds: int = 5,
    seconds: float = 3.0,
) -> EmbeddingRates:
    """Measure every engine that is there, and torchreid's extractor.

    Args:
        backbone: a key of :data:`reid_dhm.models.providers.BACKBONES`; see
            :func:`~reid_dhm.benchmarks.embedding_runners.make_network`.
        paths: image files, taken again and again.
        size: (height, width) of the network's input.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        rounds: turns of each side.
        seconds: about how long a turn of ours lasts; torchreid embeds 256 images in one, or more
            if it does them in less.
    """
    place = parse_device(device)
    alone = in_a_process(peer_alone, backbone, list(paths[:_TRIAL]), size, str(place))
    model, card = make_network(backbone, size, paths)
    in_lists = torchreid_extractor(model, card, place)

    def peer(images: Sequence[str]) -> np.ndarray:
        return in_lists(images, alone["list"])

    expected = peer(paths[:_TRIAL])
    decoded = in_memory(paths, size)
    sides = [_peer_side(peer, paths, alone["list"], seconds, place)]
    agreement: dict[tuple[str, str], float] = {}
    for engine, precision in available(place):
        embedder = Embedder((model, card), engine, str(place), False, precision=precision)
        try:
            found = embedder(paths[:_TRIAL])
        except InputError as error:
            logger.warning("%s is left out: %s", backbone, error)
            continue
        agreement[engine, precision] = float(cosines(found, expected).min())
        sides += _our_sides(embedder, paths, decoded, seconds, place)
    rates: dict[tuple[str, ...], list[float]] = {side.name: [] for side in sides}
    for number in range(rounds):
        for side in random.Random(number).sample(sides, len(sides)):
            spent = seconds_of(partial(side.embed, side.count), place)
            rates[side.name].append(side.count / spent)

    auto = Embedder((model, card), device=str(place), normalize=False)
    auto(paths[:_TRIAL])
    return EmbeddingRates(
        backbone=backbone,
        torchreid=tuple(rates["torchreid",]),
        peer_list=alone["list"],
        torchreid_alone=alone["rate"],
        engines=tuple(
            EngineRates(
                engine=engine,
                precision=precision,
                files=tuple(rates[engine, precision, "files"]),
                bare=tuple(rates[engine, precision, "bare"]),
                cosine=cosine,
            )
            for (engine, precision), cosine in agreement.items()
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
    """Resident memory while ``count`` images are embedded, the files taken again and again.

    Returns:
        Pairs of images done and bytes resident, about every ``every`` images.
    """
    process = psutil.Process()
    found: list[tuple[int, int]] = []
    wanted = (paths[i % len(paths)] for i in range(count))
    for batch in embedder.stream(wanted):
        if not found or batch.end - found[-1][0] >= every or batch.end == count:
            found.append((batch.end, process.memory_info().rss))
    return found


def _peer_side(
    embed: Callable[[Sequence[str]], np.ndarray],
    paths: Sequence[str],
    length: int,
    seconds: float,
    device: torch.device,
) -> _Side:
    def run(count: int) -> None:
        embed(list(islice(cycle(paths), count)))

    count = max(_PEER_TURN, _images_in(run, seconds, device))
    return _Side(("torchreid",), run, _whole(count, length))


def _our_sides(
    embedder: Embedder,
    paths: Sequence[str],
    decoded: np.ndarray,
    seconds: float,
    device: torch.device,
) -> list[_Side]:
    """An engine from files, and the engine alone, on as many images."""
    engine = embedder.network

    def from_files(count: int) -> None:
        for _ in embedder.stream(islice(cycle(paths), count)):
            pass

    bare = partial(_run_bare, engine, decoded)
    batches = engine.batch_size * engine.streams
    count = _whole(_images_in(bare, seconds, device), batches)
    name = (embedder.engine, embedder.precision)
    return [_Side((*name, "files"), from_files, count), _Side((*name, "bare"), bare, count)]


def _run_bare(engine: Engine, decoded: np.ndarray, count: int) -> None:
    """``count`` images in ready batches, from as many threads as the engine takes."""
    size = min(engine.batch_size, len(decoded))
    ready = [decoded[i : i + size] for i in range(0, len(decoded) - size + 1, size)]
    with ThreadPoolExecutor(engine.streams) as pool:
        for _ in pool.map(engine, islice(cycle(ready), -(-count // size))):
            pass


def _images_in(embed: Callable[[int], object], seconds: float, device: torch.device) -> int:
    """How many images a side does in about so many seconds, going by a second trial."""
    embed(_TRIAL)
    return max(_TRIAL, int(_TRIAL * seconds / seconds_of(partial(embed, _TRIAL), device)))


def _whole(count: int, parts: int) -> int:
    """The first multiple of ``parts`` that is no less."""
    return -(-count // parts) * parts
