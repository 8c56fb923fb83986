"""Compares input pipeline throughput with torchreid's: from image files to augmented batches.

Both pipelines draw P×K batches of the same JPEG files, resize, flip, crop, normalise to float32,
erase, and move the batch to the same device. torchreid uses its ``ImageDataManager`` with worker
processes (``RandomIdentitySampler``; ``random_flip``, ``random_crop``, ``random_erase``) and reads
the files in every epoch. Ours uses ``IdentitySampler``, ``MemoryLoader`` and ``TrainAugmentation``
in this process and reads the files once. The rates exclude the start: decoding the dataset here
(reported in seconds), starting the workers and filling their queues there.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import statistics
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from reid_dhm.benchmarks.harness import seconds
from reid_dhm.data.augmentation import TrainAugmentation
from reid_dhm.data.loading import MemoryLoader
from reid_dhm.data.samplers import IdentitySampler
from reid_dhm.data.samples import Sample, label_of_pid
from reid_dhm.errors import InputError
from reid_dhm.models.torchreid import torchreid_module

BatchShape = tuple[int, int]  # P identities, K images of each
_WARM_UP = 8  # batches, twice what two workers hold ready
_names = (f"reid_dhm_benchmark_{number}" for number in itertools.count())


@dataclass(frozen=True)
class PipelineRates:
    """Images per second of both input pipelines, medians over the rounds.

    Attributes:
        size: (height, width) of the batches.
        batch_size: images in a batch.
        num_images: images in the dataset.
        num_workers: torchreid's worker processes; ours has none.
        ours: our rate.
        torchreid: torchreid's rate.
        decode_seconds: time in which our loader decoded the dataset, once.
    """

    size: tuple[int, int]
    batch_size: int
    num_images: int
    num_workers: int
    ours: float
    torchreid: float
    decode_seconds: float

    @property
    def ratio(self) -> float:
        """Our rate over torchreid's."""
        return self.ours / self.torchreid


def compare_pipelines(
    samples: Sequence[Sample],
    size: tuple[int, int],
    device: torch.device,
    num_workers: int = 2,
    rounds: int = 3,
    batch: BatchShape = (16, 4),
) -> PipelineRates:
    """Measure both input pipelines on the same files, alternately, one epoch each per round.

    Args:
        samples: a training set; its epoch must be longer than the warm-up of 8 batches.
        size: (height, width) of the batches.
        device: of the batches.
        num_workers: torchreid's worker processes.
        rounds: epochs of each pipeline; the median is reported.
        batch: (P, K), identities in a batch and images of each.

    Raises:
        InputError: if an epoch is no longer than the warm-up.
    """
    label = label_of_pid(samples)
    labels = [label[sample.pid] for sample in samples]
    sampler = IdentitySampler(labels, *batch, seed=0)
    start = time.perf_counter()
    loader = MemoryLoader(samples, labels, size, device)
    decode_seconds = time.perf_counter() - start
    augment = TrainAugmentation(size)
    generator = torch.Generator().manual_seed(0)
    peer = torchreid_loader(samples, size, device, num_workers, batch)

    ours, theirs = [], []
    for epoch in range(rounds):
        theirs.append(_rate(data["img"].to(device) for data in peer))
        batches = loader.batches(sampler.epoch(epoch))
        ours.append(_rate(augment(b.images, generator) for b in batches))
    return PipelineRates(
        size=size,
        batch_size=batch[0] * batch[1],
        num_images=len(samples),
        num_workers=num_workers,
        ours=statistics.median(ours),
        torchreid=statistics.median(theirs),
        decode_seconds=decode_seconds,
    )


def torchreid_loader(
    samples: Sequence[Sample],
    size: tuple[int, int],
    device: torch.device,
    num_workers: int,
    batch: BatchShape = (16, 4),
) -> Iterable[dict]:
    """The training loader of torchreid's ``ImageDataManager`` over ``samples``.

    Returns:
        An iterable of batches, a new epoch each time: dictionaries whose ``img`` is
        (B, 3, H, W) float32 on the CPU and ``pid`` is (B,) labels.
    """
    data = torchreid_module("data")
    label = label_of_pid(samples)
    rows = [(str(sample.path), label[sample.pid], sample.camid) for sample in samples]
    name = next(_names)
    with contextlib.redirect_stdout(io.StringIO()):  # it prints every step
        # torchreid needs a query and a gallery set, and never reads them here.
        data.register_image_dataset(name, partial(data.ImageDataset, rows, rows[:1], rows[:1]))
        manager = data.ImageDataManager(
            sources=name,
            height=size[0],
            width=size[1],
            transforms=["random_flip", "random_crop", "random_erase"],
            use_gpu=device.type == "cuda",
            batch_size_train=batch[0] * batch[1],
            num_instances=batch[1],
            train_sampler="RandomIdentitySampler",
            workers=num_workers,
        )
    return manager.train_loader


def write_images(
    folder: Path, num_people: int = 512, images_each: int = 16, seed: int = 0
) -> list[Sample]:
    """Write JPEG images of coarse colour patches, of Market-1501's size (128×64)."""
    rng = np.random.default_rng(seed)
    samples = []
    for pid, number in itertools.product(range(num_people), range(images_each)):
        patches = rng.integers(0, 256, (16, 8, 3), dtype=np.uint8)
        image = cv2.resize(patches, (64, 128), interpolation=cv2.INTER_CUBIC)
        path = folder / f"{pid:04d}_{number:02d}.jpg"
        Image.fromarray(image).save(path, quality=75)
        samples.append(Sample(path, pid, camid=1 + number % 6))
    return samples


def _rate(batches: Iterator[Tensor]) -> float:
    """Images per second after the warm-up."""
    warm_up = sum(1 for _ in itertools.islice(batches, _WARM_UP))
    count = 0

    def consume() -> None:
        nonlocal count
        count = sum(len(batch) for batch in batches)

    taken = seconds(consume)
    if not count:
        raise InputError(
            f"an epoch of the dataset has {warm_up} batches, none left after a warm-up of "
            f"{_WARM_UP}: use a larger dataset"
        )
    return count / taken
