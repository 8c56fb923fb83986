"""Compares training throughput with torchreid's image engine, and measures the cost of branches.

Both train the same network on the same files with the same batch: torchreid with its
``ImageTripletEngine`` and loader in worker processes, ours with the training loop. They alternate,
so that other load on the machine affects both.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import Tensor, nn

from reid_dhm.benchmarks.harness import seconds, synchronize
from reid_dhm.benchmarks.training.pipeline import torchreid_loader
from reid_dhm.config import Config
from reid_dhm.data.loading import MemoryLoader
from reid_dhm.data.samplers import Sampler
from reid_dhm.data.samples import Sample, label_of_pid
from reid_dhm.experiments.build import (
    build_augmentation,
    build_criterion,
    build_model,
    build_sampler,
    build_trainer,
)
from reid_dhm.models.reid import ReIDModel
from reid_dhm.models.torchreid import torchreid_module
from reid_dhm.training.loop import TrainingData
from reid_dhm.training.processes import build_accelerator
from reid_dhm.training.run_folder import RunFolder

METHODS = ("baseline", "dhm")
WARM_UP = 3  # steps


@dataclass(frozen=True)
class TrainingRates:
    """Training rates; medians over the rounds.

    Attributes:
        torchreid: images per second of torchreid's engine, without branches.
        ours: our images per second, by method.
        input_share: share of our step spent loading and augmenting the batch, by method.
        resident: our rate on one augmented batch that stays in memory, by method.
        deployed: seconds in which ``deploy()`` embeds one batch, by method.
    """

    torchreid: float
    ours: dict[str, float]
    input_share: dict[str, float]
    resident: dict[str, float]
    deployed: dict[str, float]


def compare_training(
    samples: Sequence[Sample],
    config: Config,
    steps: int = 20,
    rounds: int = 3,
    num_workers: int = 2,
) -> TrainingRates:
    """Measure torchreid and both methods on ``samples``, ``steps`` training steps each per round.

    Args:
        samples: a training set of at least P identities.
        config: backbone, size, batch and recipe; its method and weights are ignored.
        steps: measured steps of each in a round.
        rounds: the medians over them are reported.
        num_workers: torchreid's worker processes.
    """
    config = replace(config, model=replace(config.model, weights=None))
    ours = {method: _Ours(samples, replace(config, method=method)) for method in METHODS}
    peer = _Peer(samples, config, num_workers)
    peer.run(WARM_UP)
    for runner in ours.values():
        runner.run(WARM_UP)
    theirs: list[float] = []
    records: dict[str, list[dict[str, float]]] = {method: [] for method in METHODS}
    for _ in range(rounds):
        theirs.append(peer.run(steps))
        for method, runner in ours.items():
            records[method].append(runner.run(steps))

    def median(method: str, figure: str) -> float:
        return statistics.median(record[figure] for record in records[method])

    return TrainingRates(
        torchreid=statistics.median(theirs),
        ours={m: median(m, "rate") for m in METHODS},
        input_share={m: median(m, "input_share") for m in METHODS},
        resident={m: median(m, "resident") for m in METHODS},
        deployed={m: median(m, "deployed") for m in METHODS},
    )


class _Ours:
    """Runs the training loop for a few steps at a time."""

    def __init__(self, samples: Sequence[Sample], config: Config) -> None:
        label_of = label_of_pid(samples)
        labels = [label_of[sample.pid] for sample in samples]
        self.size = (config.model.size[0], config.model.size[1])
        self.accelerator = build_accelerator(config.train.precision, config.train.accumulate)
        self.device = self.accelerator.device
        model, card = build_model(config, len(label_of), self.size)
        self.sampler = _Short(build_sampler(config, labels, rank=0, world_size=1))
        self.trainer = build_trainer(
            config.train,
            model,
            TrainingData(
                samples,
                MemoryLoader(samples, labels, self.size, self.device),
                self.sampler,
                build_augmentation(config, self.size),
            ),
            build_criterion(config),
            # unused: no epoch is completed
            RunFolder(Path(tempfile.gettempdir()), card),
            self.accelerator,
            config.seed,
        )

    def run(self, steps: int) -> dict[str, float]:
        self.sampler.length = steps
        record = self.trainer.train_epoch()
        batch, inputs = next(self.trainer.inputs(self.sampler.epoch(0)[:1]))
        images = len(batch.labels) * steps

        def train() -> None:
            for step in range(steps):
                self.trainer.step(batch, inputs, step)

        resident = images / seconds(train)
        return {
            "rate": record["train/pictures_per_second"],
            "input_share": record["train/input_share"],
            "resident": resident,
            "deployed": _seconds_to_embed(self.trainer.plain_model.deploy(), inputs),
        }


class _Short:
    """Limits the epochs of a sampler to their first batches."""

    def __init__(self, sampler: Sampler) -> None:
        self.sampler = sampler
        self.length = len(sampler)

    def __len__(self) -> int:
        return self.length

    def epoch(self, epoch: int) -> list[Tensor]:
        """``length`` batches, continued from the next epochs if one is too short."""
        batches: list[Tensor] = []
        while len(batches) < self.length:
            batches += self.sampler.epoch(epoch)
            epoch += 1
        return batches[: self.length]


class _Peer:
    """torchreid's own engine over its own loader, training the same plain network."""

    def __init__(self, samples: Sequence[Sample], config: Config, num_workers: int) -> None:
        size = (config.model.size[0], config.model.size[1])
        label_of = label_of_pid(samples)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        model, _ = build_model(replace(config, method="baseline"), len(label_of), size)
        network = _TorchreidModel(model.to(self.device)).train()
        batch = (config.train.num_identities, config.train.num_instances)
        loader = torchreid_loader(samples, size, self.device, num_workers, batch)
        optimizer = torch.optim.Adam(
            (p for p in network.parameters() if p.requires_grad),
            lr=config.train.lr,
            weight_decay=config.train.weight_decay,
        )
        manager = SimpleNamespace(train_loader=loader, test_loader={}, num_train_pids=len(label_of))
        self.engine = torchreid_module("engine").ImageTripletEngine(
            manager, network, optimizer, use_gpu=self.device.type == "cuda"
        )

    def run(self, steps: int) -> float:
        """Images per second over ``steps`` steps, without the start of the workers."""
        batches = self._batches()
        self.engine.forward_backward(next(batches))
        synchronize()
        start = time.perf_counter()
        images = 0
        for data in islice(batches, steps):
            self.engine.forward_backward(data)
            images += len(data["pid"])
        synchronize()
        return images / (time.perf_counter() - start)

    def _batches(self) -> Iterator[dict]:
        while True:
            yield from self.engine.train_loader


class _TorchreidModel(nn.Module):
    """A plain re-ID model as torchreid's engine expects it: (logits, features) in training."""

    def __init__(self, model: ReIDModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        output = self.model(images)[0]
        return output.logits, output.features


@torch.no_grad()
def _seconds_to_embed(model: ReIDModel, inputs: Tensor) -> float:
    return statistics.median(seconds(lambda: model.embed(inputs)) for _ in range(5))
