"""Input pipeline throughput beside torchreid's: from image files to augmented float batches.

Both sides draw P×K batches of the same JPEG files, resize, flip, crop, normalise to float32, erase,
and end on the same device. torchreid is its own ``ImageDataManager`` with worker processes
(``RandomIdentitySampler``; ``random_flip``, ``random_crop``, ``random_erase``), which reads the
files in every epoch. Ours is ``IdentitySampler``, ``MemoryLoader`` and ``TrainAugmentation`` in
this process alone, which reads them once. The start is left out on both sides: decoding the set
here (reported as seconds), starting the workers and filling their queues there.
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
    """Images a second of both input pipelines, medians over the rounds.

    Attributes:
        size: (height, width) of the batches.
        batch_size: images in a batch.
        num_images: images in the set.
        num_workers: torchreid's worker processes; ours has none.
        ours: images a second.
        torchreid: images a second.
        decode_seconds: what our loader took, once, to decode the set.
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
        """How many times torchreid's rate ours is."""
        return self.ours / self.torchreid


def compare_pipelines(
    samples: Sequence[Sample],
    size: tuple[int, int],
    device: torch.device,
    num_workers: int = 2,
    rounds: int = 3,
    batch: BatchShape = (16, 4),
) -> PipelineRates:
    """Measure both input pipelines on the same files, taking turns, an epoch each per round.

    Args:
        samples: a training set, of enough people for epochs of more than a few batches.
        size: (height, width) of the batches.
        device: where batches are wanted.
        num_workers: torchreid's worker processes.
        rounds: turns of each side; their median counts.
        batch: identities in a batch, and images of each.

    Raises:
        InputError: if the set is too small to leave anything to measure after the warm-up.
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
        theirs.append(_rate((data["img"].to(device) for data in peer), device))
        batches = loader.batches(sampler.epoch(epoch))
        ours.append(_rate((augment(b.images, generator) for b in batches), device))
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
    with contextlib.redirect_stdout(io.StringIO()):  # it announces every step
        # A query and a gallery have to be there; they are never read.
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
    """Write JPEG images of Market-1501's size (128x64) and about its bytes per file.

    They show coarse colour patches: enough for what decoding costs.
    """
    rng = np.random.default_rng(seed)
    samples = []
    for pid, number in itertools.product(range(num_people), range(images_each)):
        patches = rng.integers(0, 256, (16, 8, 3), dtype=np.uint8)
        image = cv2.resize(patches, (64, 128), interpolation=cv2.INTER_CUBIC)
        path = folder / f"{pid:04d}_{number:02d}.jpg"
        Image.fromarray(image).save(path, quality=75)
        samples.append(Sample(path, pid, camid=1 + number % 6))
    return samples


def _rate(batches: Iterator[Tensor], device: torch.device) -> float:
    """Images a second after the warm-up."""
    warm_up = sum(1 for _ in itertools.islice(batches, _WARM_UP))
    wait_for(device)
    start = time.perf_counter()
    count = sum(len(batch) for batch in batches)
    wait_for(device)
    seconds = time.perf_counter() - start
    if not count:
        raise InputError(
            f"the set makes {warm_up} batches an epoch, too few to measure after a warm-up of "
            f"{_WARM_UP}: give a larger set"
        )
    return count / seconds


def wait_for(device: torch.device) -> None:
    """Wait until a GPU has done what was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
