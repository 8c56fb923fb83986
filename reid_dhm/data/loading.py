"""From index batches to batches of uint8 images on the training device.

A set that fits in memory is decoded once and kept; worker processes decode a larger one on demand.
Both give the same batches. Augmentation and normalisation are :mod:`reid_dhm.data.augmentation`'s.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, Protocol

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from reid_dhm.data.images import check_images, read_image, resize_image, upright_size
from reid_dhm.data.samples import Sample
from reid_dhm.errors import InputError

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Called with the images done and the images in all."""

_IMAGES_PER_JOB = 64
_GPU_SHARE = 0.25  # of the free GPU memory that the decoded set may take; training needs the rest


class Batch(NamedTuple):
    """One batch of B images.

    Attributes:
        images: (B, 3, h, w) uint8 RGB on the training device, channels_last in memory.
        labels: (B,) int64 on the training device.
        indices: (B,) int64 on the CPU, rows in the samples.
    """

    images: Tensor
    labels: Tensor
    indices: Tensor


class Loader(Protocol):
    """Gives batches of a set of labelled images."""

    def batches(self, index_batches: Iterable[Tensor]) -> Iterator[Batch]:
        """One batch for each (B,) int64 tensor of rows in the samples."""


def build_loader(
    samples: Sequence[Sample],
    labels: Sequence[int],
    size: tuple[int, int],
    device: torch.device,
    cache_limit: int,
    num_workers: int,
    progress: Progress | None = None,
) -> Loader:
    """Keep the decoded set in memory if it needs at most ``cache_limit`` bytes, else use workers.

    Either way every image has been decoded once when this returns, so a corrupt one is found
    before training starts.

    Args:
        samples: the training images.
        labels: their class labels, in the same order.
        size: (height, width) of the model's input.
        device: the device of the batches.
        cache_limit: most bytes of the decoded set in memory.
        num_workers: decoding processes above that limit.
        progress: called with the images done and the images in all.

    Raises:
        InputError: if there are no samples or an image cannot be read.
    """
    need, native = estimate_bytes(samples, size)
    height, width = native or size
    kept = f"{len(samples)} images at {height}x{width} need {need / 2**20:.0f} MiB decoded"
    limit = f"the cache limit of {cache_limit / 2**20:.0f} MiB"
    if need <= cache_limit:
        logger.info("%s, within %s: decoding them once into memory", kept, limit)
        return MemoryLoader(samples, labels, size, device, progress, stored_size=native or size)
    logger.info("%s, above %s: decoding in %d worker processes", kept, limit, num_workers)
    check_images(samples, progress=progress)
    return WorkerLoader(samples, labels, size, device, num_workers)


def estimate_bytes(
    samples: Sequence[Sample], size: tuple[int, int]
) -> tuple[int, tuple[int, int] | None]:
    """Memory of the decoded images, from the header of every file.

    Returns:
        Bytes, and the (height, width) that all images share if it is no larger than ``size`` on
        either side: such images are kept as they are. Otherwise ``None``: images are kept at
        ``size``.

    Raises:
        InputError: if there are no samples or an image cannot be read.
    """
    if not samples:
        raise InputError("there are no images to load: the training split is empty")
    with ThreadPoolExecutor() as pool:
        sizes = set(pool.map(upright_size, [sample.path for sample in samples]))
    height, width = sizes.pop()
    native = (height, width) if not sizes and height <= size[0] and width <= size[1] else None
    height, width = native or size
    return len(samples) * height * width * 3, native


class MemoryLoader:
    """Decodes every image once, in threads, and takes batches from the uint8 set.

    On a GPU with room (the set takes at most a quarter of the free memory) the set is kept there
    and the host only sends row numbers; otherwise it stays in main memory.

    Args:
        samples: N images.
        labels: their N class labels.
        size: (height, width) of the model's input.
        device: the device of the batches.
        progress: called with the images done and the images in all.
        stored_size: (height, width) of the kept images; by default the size they all share if
            it is no larger than ``size``, else ``size``.

    Raises:
        InputError: if there are no samples or an image cannot be read.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        labels: Sequence[int],
        size: tuple[int, int],
        device: torch.device,
        progress: Progress | None = None,
        stored_size: tuple[int, int] | None = None,
    ) -> None:
        self._labels = _label_tensor(samples, labels).to(device)
        stored_size = stored_size or estimate_bytes(samples, size)[1] or size
        images = torch.from_numpy(_decode_all(samples, stored_size, progress))
        self._images = images.to(device) if _has_room(device, images.nbytes) else images

    def batches(self, index_batches: Iterable[Tensor]) -> Iterator[Batch]:
        """One batch for each (B,) int64 tensor of rows in the samples."""
        device = self._labels.device
        for indices in index_batches:
            rows = self._images.index_select(0, indices.to(self._images.device))
            images = rows.to(device, non_blocking=True).permute(0, 3, 1, 2)
            yield Batch(images, self._labels[indices.to(device)], indices)


class WorkerLoader:
    """Decodes images in worker processes in every epoch and resizes them to ``size``.

    The workers live during one call of :meth:`batches`.

    Args:
        samples: N images.
        labels: their N class labels.
        size: (height, width) of the images in a batch.
        device: the device of the batches.
        num_workers: decoding processes; 0 decodes in this one.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        labels: Sequence[int],
        size: tuple[int, int],
        device: torch.device,
        num_workers: int,
    ) -> None:
        self._labels = _label_tensor(samples, labels).to(device)
        self._decoder = _BatchDecoder([sample.path for sample in samples], size)
        self._num_workers = num_workers

    def batches(self, index_batches: Iterable[Tensor]) -> Iterator[Batch]:
        """One batch for each (B,) int64 tensor of rows in the samples.

        Raises:
            InputError: if an image cannot be read.
        """
        device = self._labels.device
        decoded = DataLoader(
            self._decoder,
            batch_size=None,
            sampler=[indices.tolist() for indices in index_batches],
            num_workers=self._num_workers,
            worker_init_fn=_start_worker,
            pin_memory=device.type == "cuda",
            generator=torch.Generator(),  # otherwise each epoch draws from the global one
        )
        for batch in decoded:
            if isinstance(batch, InputError):
                raise batch
            rows, indices = batch
            images = rows.to(device, non_blocking=True).permute(0, 3, 1, 2)
            yield Batch(images, self._labels[indices.to(device)], indices)


class _BatchDecoder(Dataset[tuple[Tensor, Tensor] | InputError]):
    """Maps a list of rows to (B, H, W, 3) uint8 images and their (B,) rows."""

    def __init__(self, paths: Sequence[Path], size: tuple[int, int]) -> None:
        self._paths = paths
        self._size = size

    def __getitem__(self, rows: list[int]) -> tuple[Tensor, Tensor] | InputError:
        # An error raised in a worker would reach the user as a traceback of two processes.
        try:
            images = [resize_image(read_image(self._paths[row]), self._size) for row in rows]
        except InputError as error:
            return error
        return torch.from_numpy(np.stack(images)), torch.tensor(rows)


def _start_worker(_: int) -> None:
    cv2.setNumThreads(0)  # OpenCV's own threads do not survive the fork


def _decode_all(
    samples: Sequence[Sample], size: tuple[int, int], progress: Progress | None
) -> np.ndarray:
    """All images as one (N, H, W, 3) uint8 array."""
    total = len(samples)
    images = np.empty((total, *size, 3), np.uint8)

    def decode_job(start: int) -> int:
        end = min(start + _IMAGES_PER_JOB, total)
        for row in range(start, end):
            images[row] = resize_image(read_image(samples[row].path), size)
        return end

    with ThreadPoolExecutor() as pool:
        for done in pool.map(decode_job, range(0, total, _IMAGES_PER_JOB)):
            if progress is not None:
                progress(done, total)
    return images


def _label_tensor(samples: Sequence[Sample], labels: Sequence[int]) -> Tensor:
    if len(samples) != len(labels):
        raise ValueError(f"{len(samples)} samples, but {len(labels)} labels")
    return torch.tensor(labels, dtype=torch.int64)


def _has_room(device: torch.device, need: int) -> bool:
    """Whether a decoded set of ``need`` bytes may live on the device."""
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return need <= _GPU_SHARE * free
