"""Images in, embeddings out: reading beside inference, in bounded memory, in input order.

An :class:`.Engine` runs the network; PyTorch is loaded only where no exported graph is at hand.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import cached_property
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from reid_dhm.errors import InputError
from reid_dhm.inference.checkpoint_file import CheckpointFile, find_checkpoint
from reid_dhm.inference.engines.agreement import CHECKED, Engine
from reid_dhm.inference.engines.exported import ExportedModel
from reid_dhm.inference.engines.options import EngineOptions
from reid_dhm.inference.engines.selection import build_engine
from reid_dhm.inference.graph_cache import open_or_export
from reid_dhm.inference.reading import Image, ImageBatch, read_batches
from reid_dhm.models.card import ModelCard

if TYPE_CHECKING:
    from reid_dhm.models.reid import ReIDModel

OnError = Callable[[int, InputError], None]
"""Called with the row and the error of an image that cannot be read."""


class EmbeddedBatch(NamedTuple):
    """A part of the result.

    Attributes:
        rows: (n,) int64, rows of the images in the input, ascending.
        embeddings: (n, D) float32.
        end: number of input images done.
    """

    rows: np.ndarray
    embeddings: np.ndarray
    end: int


class Embedder:
    """Turns images of people into embeddings.

    Args:
        checkpoint: a file, a run folder or what
            :func:`~reid_dhm.inference.checkpoint_file.find_checkpoint` returned, whose exported
            graph may come from the cache; or (model, card), of which a copy is taken as it is now.
        engine: ``torch``, ``openvino``, ``onnxruntime``, or ``auto`` for the first of
            :data:`.ORDER` that is installed and whose first images
            agree with eager PyTorch in float32 (cosine ≥ 0.999).
        device: ``auto`` (a GPU if there is one), ``cpu``, ``cuda`` or ``cuda:N``.
        normalize: return unit rows; otherwise embeddings as the model computes them.
        flip: average each embedding with its mirrored image's, before normalising.
        batch_size: images per batch; ``None`` for what suits the engine.
        precision: ``auto`` (16 bits where the device computes in them and the first batch agrees),
            ``float32`` for embeddings that differ between devices in rounding alone, ``bf16`` or
            ``fp16``.
        compiled: compile the torch engine's network and replay it as one CUDA graph: a minute at
            the start, for the largest jobs on a GPU.

    Attributes:
        card: the model's card.

    Raises:
        InputError: a checkpoint, engine, device or precision that cannot be used.
    """

    def __init__(
        self,
        checkpoint: Path | str | CheckpointFile | tuple[ReIDModel | ExportedModel, ModelCard],
        engine: str = "auto",
        device: str = "auto",
        normalize: bool = True,
        flip: bool = False,
        batch_size: int | None = None,
        precision: str = "auto",
        compiled: bool = False,
    ) -> None:
        options = EngineOptions(engine, device, precision, compiled, batch_size)
        if isinstance(checkpoint, Path | str):
            checkpoint = find_checkpoint(checkpoint)
        if isinstance(checkpoint, CheckpointFile):
            checkpoint = open_or_export(checkpoint, options)
        self._model, self.card = checkpoint
        if not isinstance(self._model, ExportedModel):
            from reid_dhm.inference.checkpoints import embedding_model

            self._model = embedding_model(self._model, self.card)
        self._engine = build_engine(self._model, self.card, options)
        self._normalize = normalize
        self._flip = flip
        self._batch_size = batch_size

    @property
    def engine(self) -> str:
        """The engine that runs; under ``auto`` the first batch may still change it."""
        return self._engine.name

    @property
    def network(self) -> Engine:
        """The engine itself: batches of resized images to embeddings that are not normalised."""
        return self._engine

    @property
    def precision(self) -> str:
        """``float32``, ``bf16``, ``fp16``, or ``int8`` for an exported file of that kind."""
        if isinstance(self._model, ExportedModel) and self._model.precision == "int8":
            return "int8"
        return self._engine.precision

    @property
    def device(self) -> str:
        """Where it runs."""
        return self._engine.device

    @property
    def dim(self) -> int:
        """Length D of an embedding."""
        return self._engine.dim

    @cached_property
    def fingerprint(self) -> str:
        """Identifies the model; see :func:`~reid_dhm.inference.checkpoints.fingerprint`."""
        if isinstance(self._model, ExportedModel):
            return self._model.fingerprint
        from reid_dhm.inference.checkpoints import fingerprint

        return fingerprint(self._model, self.card)

    def __call__(
        self,
        images: Sequence[Image] | np.ndarray,
        on_progress: Callable[[int, int], None] | None = None,
        on_error: OnError | None = None,
    ) -> np.ndarray:
        """Embed images.

        Args:
            images: N images: files, arrays of any sizes, or both.
            on_progress: called with the images done and N, batch by batch.
            on_error: called with the row and the error of each image that cannot be read, whose
                row is then left out; by default the first one's error is raised.

        Returns:
            (N, D) float32, one row an image in input order, less those left out.

        Raises:
            InputError: an image that cannot be read, is not an (H, W, 3) uint8 array, or whose
                embedding is not finite.
        """
        _refuse_one(images)
        embeddings = np.empty((len(images), self.dim), np.float32)
        filled = 0
        for batch in self.stream(images, on_error):
            embeddings[filled : filled + len(batch.rows)] = batch.embeddings
            filled += len(batch.rows)
            if on_progress is not None:
                on_progress(batch.end, len(images))
        return embeddings[:filled]

    def stream(
        self, images: Iterable[Image], on_error: OnError | None = None
    ) -> Iterator[EmbeddedBatch]:
        """Embed any number of images in constant memory.

        Args:
            images: files, arrays of any sizes, or both; taken as they are needed.
            on_error: as in a call.

        Yields:
            The embeddings batch by batch, in input order.

        Raises:
            InputError: as in a call, after the results of all images before the bad one.
        """
        _refuse_one(images)
        images = self._decided(images)
        batch_size = self._batch_size or self._engine.batch_size
        running: deque[tuple[ImageBatch, Future[np.ndarray]]] = deque()
        streams = self._engine.streams
        pool = ThreadPoolExecutor(streams, thread_name_prefix="engine")
        try:
            # Closed immediately, even after an error whose traceback keeps this frame.
            with closing(read_batches(images, batch_size, self.card.size)) as batches:
                for batch in batches:
                    running.append((batch, pool.submit(self._embed, batch)))
                    if len(running) > streams:
                        yield from _finished(*running.popleft(), on_error or _stop)
            while running:
                yield from _finished(*running.popleft(), on_error or _stop)
        finally:
            pool.shutdown(cancel_futures=True)

    def _decided(self, images: Iterable[Image]) -> Iterable[Image]:
        """The same images, after the first of them have decided which engine runs.

        The batch size depends on the engine.
        """
        if self._engine.decided:
            return images
        waiting = iter(images)
        first = list(islice(waiting, CHECKED))
        for batch in read_batches(first, max(1, len(first)), self.card.size):
            if len(batch.images):
                self._engine.decide(batch.images)
        return chain(first, waiting)

    def _embed(self, batch: ImageBatch) -> np.ndarray:
        images = batch.images
        if not len(images):
            return np.empty((0, self.dim), np.float32)
        embeddings = self._engine(images)
        if self._flip:
            mirrored = np.ascontiguousarray(images[:, :, ::-1])
            embeddings = (embeddings + self._engine(mirrored)) / 2
        if not (finite := np.isfinite(embeddings).all(axis=1)).all():
            remedy = "another model" if self.precision == "float32" else "precision float32"
            raise InputError(
                f"the embedding of {batch.names[int(finite.argmin())]} in {self.precision} is not "
                f"finite: use {remedy}"
            )
        if self._normalize:
            length = np.linalg.norm(embeddings, axis=1, keepdims=True)
            embeddings = embeddings / np.maximum(length, np.finfo(np.float32).tiny)
        return embeddings


def _refuse_one(images: object) -> None:
    if isinstance(images, str | Path):
        raise InputError(f"{images} is a single image: give a list, [{str(images)!r}]")


def _stop(row: int, error: InputError) -> None:
    raise error


def _finished(
    batch: ImageBatch, result: Future[np.ndarray], on_error: OnError
) -> Iterator[EmbeddedBatch]:
    """Yield a batch and report each fault after the rows before it."""
    embeddings = result.result()
    done = 0
    for row, error in batch.faults:
        before = int(np.searchsorted(batch.rows, row))
        if before > done:
            yield EmbeddedBatch(batch.rows[done:before], embeddings[done:before], row)
        done = before
        on_error(row, error)
    yield EmbeddedBatch(batch.rows[done:], embeddings[done:], batch.end)
