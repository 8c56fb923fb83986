"""Compares embedding image files with torchreid's ``FeatureExtractor`` and with the engine alone.

All runners use the same network, weights and files in this process, and alternate in another order
every round, so that other load on the machine affects all of them. The model of torchreid's
extractor is replaced by our network in eager PyTorch; the extractor is called with the number of
paths at which it is fastest.
"""

from __future__ import annotations

import logging
import random
import statistics
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice

import numpy as np
import psutil
import torch

from reid_dhm.benchmarks.embedding.runners import (
    in_memory,
    make_network,
    peer_alone,
    torchreid_extractor,
)
from reid_dhm.benchmarks.harness import in_fresh_process, seconds
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
_PEER_TURN = 256  # fewest images of a torchreid turn: a multiple of every tried list length
_TRIAL = 64  # images of a warm-up

Rates = tuple[float, ...]
"""Images per second, one value per round."""


@dataclass(frozen=True)
class EngineRates:
    """Rates of one engine.

    Attributes:
        engine: its name.
        precision: numeric precision.
        files: from files on disk to embeddings in memory.
        bare: the engine alone, on batches of resized images in memory.
        cosine: lowest cosine similarity to torchreid's embeddings.
    """

    engine: str
    precision: str
    files: Rates
    bare: Rates
    cosine: float

    @property
    def share(self) -> Rates:
        """``files`` over ``bare``, round by round."""
        return tuple(f / b for f, b in zip(self.files, self.bare, strict=True))


@dataclass(frozen=True)
class EmbeddingRates:
    """Rates of all engines with one network.

    Attributes:
        backbone: its name.
        torchreid: ``FeatureExtractor`` from files.
        peer_list: paths per call of it.
        torchreid_alone: its best rate in a separate process.
        engines: our engines.
        chosen: the engine and precision that ``auto`` selects.
        deployed: latency of ``deploy()`` of the network with DHM branches, over that of the plain
            network.
    """

    backbone: str
    torchreid: Rates
    peer_list: int
    torchreid_alone: float
    engines: tuple[EngineRates, ...]
    chosen: tuple[str, str]
    deployed: float


@dataclass(frozen=True)
class _Runner:
    """Embeds ``count`` images a turn by ``embed(count)``."""

    name: tuple[str, ...]
    embed: Callable[[int], object]
    count: int


def compare_embedding(
    backbone: str,
    paths: Sequence[str],
    size: tuple[int, int] = (256, 128),
    device: str = "auto",
    rounds: int = 5,
    turn_seconds: float = 3.0,
) -> EmbeddingRates:
    """Measure every available engine and torchreid's extractor.

    Args:
        backbone: a key of :data:`reid_dhm.models.providers.BACKBONES`; see
            :func:`~reid_dhm.benchmarks.embedding.runners.make_network`.
        paths: image files, reused as often as needed.
        size: (height, width) of the network's input.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        rounds: turns of each runner.
        turn_seconds: approximate length of a turn; torchreid embeds at least 256 images.
    """
    place = parse_device(device)
    alone = in_fresh_process(peer_alone, backbone, list(paths[:_TRIAL]), size, str(place))
    model, card = make_network(backbone, size, paths)
    in_lists = torchreid_extractor(model, card, place)

    def peer(images: Sequence[str]) -> np.ndarray:
        return in_lists(images, alone["list"])

    expected = peer(paths[:_TRIAL])
    decoded = in_memory(paths, size)
    runners = [_peer_runner(peer, paths, alone["list"], turn_seconds)]
    agreement: dict[tuple[str, str], float] = {}
    for engine, precision in available(str(place)):
        embedder = Embedder((model, card), engine, str(place), False, precision=precision)
        try:
            found = embedder(paths[:_TRIAL])
        except InputError as error:
            logger.warning("%s is skipped: %s", backbone, error)
            continue
        agreement[engine, precision] = float(cosines(found, expected).min())
        runners += _our_runners(embedder, paths, decoded, turn_seconds)
    rates: dict[tuple[str, ...], list[float]] = {runner.name: [] for runner in runners}
    for number in range(rounds):
        for runner in random.Random(number).sample(runners, len(runners)):
            taken = seconds(partial(runner.embed, runner.count))
            rates[runner.name].append(runner.count / taken)

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
    """Latency of ``deploy()`` of a network with branches over that of the plain network; aim 1.

    Both embed the same batch in eager PyTorch, alternately; the median of the ratios is returned.
    """
    trunk = build_backbone(backbone, last_stride=2)
    plain = ReIDModel(trunk, 1, neck="none").eval().to(device)
    branched = ReIDModel(build_backbone(backbone), 1, default_branches(trunk), neck="none")
    deployed = branched.deploy().to(device)
    batch = torch.randn(8, 3, *size, device=device)

    @torch.inference_mode()
    def latency(model: ReIDModel) -> float:
        return seconds(lambda: model.embed(batch))

    latency(plain), latency(deployed)
    return statistics.median(latency(deployed) / latency(plain) for _ in range(rounds))


def memory_over(
    embedder: Embedder, paths: Sequence[str], count: int, every: int = 2000
) -> list[tuple[int, int]]:
    """Resident memory while ``count`` images are embedded; the files are reused.

    Returns:
        Pairs of images done and resident bytes, about every ``every`` images.
    """
    process = psutil.Process()
    found: list[tuple[int, int]] = []
    wanted = (paths[i % len(paths)] for i in range(count))
    for batch in embedder.stream(wanted):
        if not found or batch.end - found[-1][0] >= every or batch.end == count:
            found.append((batch.end, process.memory_info().rss))
    return found


def _peer_runner(
    embed: Callable[[Sequence[str]], np.ndarray],
    paths: Sequence[str],
    length: int,
    turn_seconds: float,
) -> _Runner:
    def run(count: int) -> None:
        embed(list(islice(cycle(paths), count)))

    count = max(_PEER_TURN, _images_in(run, turn_seconds))
    return _Runner(("torchreid",), run, _whole(count, length))


def _our_runners(
    embedder: Embedder,
    paths: Sequence[str],
    decoded: np.ndarray,
    turn_seconds: float,
) -> list[_Runner]:
    """An engine from files, and the engine alone, on the same number of images."""
    engine = embedder.network

    def from_files(count: int) -> None:
        for _ in embedder.stream(islice(cycle(paths), count)):
            pass

    bare = partial(_run_bare, engine, decoded)
    batches = engine.batch_size * engine.streams
    count = _whole(_images_in(bare, turn_seconds), batches)
    name = (embedder.engine, embedder.precision)
    return [_Runner((*name, "files"), from_files, count), _Runner((*name, "bare"), bare, count)]


def _run_bare(engine: Engine, decoded: np.ndarray, count: int) -> None:
    """Embed ``count`` images in prepared batches, one thread per stream of the engine."""
    size = min(engine.batch_size, len(decoded))
    ready = [decoded[i : i + size] for i in range(0, len(decoded) - size + 1, size)]
    with ThreadPoolExecutor(engine.streams) as pool:
        for _ in pool.map(engine, islice(cycle(ready), -(-count // size))):
            pass


def _images_in(embed: Callable[[int], object], turn_seconds: float) -> int:
    """Images that a runner embeds in a turn, estimated after a warm-up."""
    embed(_TRIAL)
    return max(_TRIAL, int(_TRIAL * turn_seconds / seconds(partial(embed, _TRIAL))))


def _whole(count: int, parts: int) -> int:
    """``count`` rounded up to a multiple of ``parts``."""
    return -(-count // parts) * parts
