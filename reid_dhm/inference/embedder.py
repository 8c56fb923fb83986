"""Pictures in, embeddings out: reading beside inference, in bounded memory, in input order.

What runs the network is an :class:`~reid_dhm.inference.engines.Engine`.
"""

from __future__ import annotations

import copy
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import torch

from reid_dhm.data.augmentation import resize
from reid_dhm.data.pictures import read_picture, resize_picture
from reid_dhm.errors import InputError
from reid_dhm.inference.checkpoints import fingerprint, open_checkpoint
from reid_dhm.inference.engines import build_engine
from reid_dhm.models.card import ModelCard
from reid_dhm.models.reid import ReIDModel

Picture: TypeAlias = "str | Path | np.ndarray"
"""A picture file, or (H, W, 3) uint8 RGB pixels of any size."""

_READERS = min(8, os.cpu_count() or 1)


class _Batch(NamedTuple):
    pictures: np.ndarray  # those that could be read
    faults: list[tuple[int, InputError]]  # row in the input, and what is wrong with it
    end: int  # row in the input behind the last one


class Embedder:
    """Turns pictures of people into embeddings.

    Args:
        checkpoint: what :func:`~reid_dhm.inference.checkpoints.open_checkpoint` opens without
            further words, or what it returned.
        engine: ``torch``, or ``auto`` for the fastest there is.
        device: ``auto`` (a GPU if there is one), ``cpu``, ``cuda`` or ``cuda:N``.
        normalize: return unit rows; otherwise embeddings as the model gives them.
        flip: average each embedding with its mirrored picture's, before normalising.
        batch_size: pictures at once; ``None`` for what suits the engine.
        precision: ``auto`` (16 bits on CUDA, float32 on the CPU), or ``float32`` for embeddings
            that differ between devices in rounding alone.

    Attributes:
        card: the model's card.
        engine: the name of the engine that runs.
        device: where it runs.
        dim: length D of an embedding.

    Raises:
        InputError: a checkpoint, engine, device or precision that cannot be used.
    """

    def __init__(
        self,
        checkpoint: Path | str | tuple[ReIDModel, ModelCard],
        engine: str = "auto",
        device: str = "auto",
        normalize: bool = True,
        flip: bool = False,
        batch_size: int | None = None,
        precision: str = "auto",
    ) -> None:
        if batch_size is not None and batch_size < 1:
            raise InputError(f"batch_size is {batch_size}: use 1 or more")
        if not isinstance(checkpoint, tuple):
            checkpoint = open_checkpoint(checkpoint)
        self.card = checkpoint[1]
        self._model = _test_model(*checkpoint)
        self._engine = build_engine(engine, self._model, self.card, device, precision)
        self._normalize = normalize
        self._flip = flip
        self._batch_size = batch_size or self._engine.batch_size
        self.engine = self._engine.name
        self.device = self._engine.device
        self.dim = self._engine(np.zeros((1, *self.card.size, 3), np.uint8)).shape[1]

    @classmethod
    def from_model(
        cls,
        model: ReIDModel,
        card: ModelCard,
        engine: str = "auto",
        device: str = "auto",
        normalize: bool = True,
        flip: bool = False,
        batch_size: int | None = None,
        precision: str = "auto",
    ) -> Embedder:
        """An embedder of a copy of ``model`` as it is now; training may go on with the model."""
        return cls((model, card), engine, device, normalize, flip, batch_size, precision)

    @cached_property
    def fingerprint(self) -> str:
        """Tells models apart; see :func:`~reid_dhm.inference.checkpoints.fingerprint`."""
        return fingerprint(self._model, self.card)

    def __call__(
        self,
        pictures: Sequence[Picture] | np.ndarray,
        on_progress: Callable[[int, int], None] | None = None,
        on_error: Callable[[int, InputError], None] | None = None,
    ) -> np.ndarray:
        """Embed pictures.

        Args:
            pictures: N pictures: files, arrays of any sizes, or both.
            on_progress: called with the pictures done and N, batch by batch.
            on_error: called with the row and the error of each picture that cannot be read, whose
                row is then left out; by default the first one's error is raised.

        Returns:
            (N, D) float32, one row a picture in input order, less those left out.

        Raises:
            InputError: a picture that cannot be read, or is no (H, W, 3) uint8 array.
        """
        if isinstance(pictures, str | Path):
            raise InputError(f"{pictures} is one picture: give a list, [{str(pictures)!r}]")
        embeddings = np.empty((len(pictures), self.dim), np.float32)
        filled = 0
        for batch in self._read(pictures):
            for row, error in batch.faults:
                if on_error is None:
                    raise error
                on_error(row, error)
            if len(batch.pictures):
                found = self._embed(batch.pictures)
                embeddings[filled : filled + len(found)] = found
                filled += len(found)
            if on_progress is not None:
                on_progress(batch.end, len(pictures))
        return embeddings[:filled]

    def _embed(self, pictures: np.ndarray) -> np.ndarray:
        embeddings = self._engine(pictures)
        if self._flip:
            mirrored = np.ascontiguousarray(pictures[:, :, ::-1])
            embeddings = (embeddings + self._engine(mirrored)) / 2
        if self._normalize:
            length = np.linalg.norm(embeddings, axis=1, keepdims=True)
            embeddings = embeddings / np.maximum(length, np.finfo(np.float32).tiny)
        return embeddings

    def _read(self, pictures: Sequence[Picture] | np.ndarray) -> Iterator[_Batch]:
        """Batches in order, read ahead by threads, a few batches at the most."""
        pool = ThreadPoolExecutor(_READERS, thread_name_prefix="reader")
        ahead: deque[Future[_Batch]] = deque()
        try:
            for start in range(0, len(pictures), self._batch_size):
                chunk = pictures[start : start + self._batch_size]
                ahead.append(pool.submit(_read_batch, chunk, start, self.card.size))
                if len(ahead) > _READERS:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _test_model(model: ReIDModel, card: ModelCard) -> ReIDModel:
    """A copy of what embeds: the main path, or all heads of an ensemble."""
    if card.embedding == "main":
        return model.deploy()
    if card.embedding == "ensemble":
        return copy.deepcopy(model).eval()
    raise InputError(f"embedding is {card.embedding!r} in the model's card: use main or ensemble")


def _read_batch(
    pictures: Sequence[Picture] | np.ndarray, start: int, size: tuple[int, int]
) -> _Batch:
    rows, faults = [], []
    for row, picture in enumerate(pictures, start):
        try:
            pixels = picture if isinstance(picture, np.ndarray) else read_picture(picture)
            rows.append(_resize(_checked(pixels, row), size))
        except InputError as error:
            faults.append((row, error))
    stacked = np.stack(rows) if rows else np.empty((0, *size, 3), np.uint8)
    return _Batch(stacked, faults, start + len(pictures))


def _checked(pixels: np.ndarray, row: int) -> np.ndarray:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise InputError(
            f"picture {row} is an array of shape {pixels.shape} and type {pixels.dtype}: "
            "give (H, W, 3) uint8 RGB"
        )
    return pixels


def _resize(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize (h, w, 3) to (H, W, 3) with the very pixels that training sees.

    Pictures no larger than the input are enlarged as
    :class:`~reid_dhm.data.augmentation.TestTransform` does with a set kept at its native size;
    others as :mod:`reid_dhm.data.loading` stores them.
    """
    height, width, _ = picture.shape
    if height <= size[0] and width <= size[1]:
        enlarged = resize(torch.from_numpy(picture).permute(2, 0, 1)[None], size)
        return enlarged[0].permute(1, 2, 0).numpy()
    return resize_picture(picture, size)
