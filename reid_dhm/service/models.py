"""The model that embeds a service's queries; it follows a gallery that moves to another one."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from reid_dhm.errors import ReidError
from reid_dhm.gallery.store.reader import GalleryReader
from reid_dhm.service.batching import Batcher
from reid_dhm.service.errors import Problem
from reid_dhm.service.middleware.metrics import Metrics

if TYPE_CHECKING:
    from reid_dhm.evaluation.thresholds import Thresholds
    from reid_dhm.models.card import ModelCard

logger = logging.getLogger(__name__)


class ImageEmbedder(Protocol):
    """The part of :class:`~reid_dhm.inference.embedder.Embedder` that the service uses."""

    card: ModelCard

    @property
    def dim(self) -> int:
        """Length D of an embedding."""
        ...

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the model."""
        ...

    def __call__(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """(N, D) unit rows of N images, each (H, W, 3) uint8 RGB."""
        ...


OpenModel = Callable[[str], ImageEmbedder]
"""Opens the model that a gallery names (:meth:`.GalleryReader.model`)."""


@dataclass(frozen=True)
class ServedModel:
    """A model that answers requests.

    Attributes:
        fingerprint: of the model.
        batcher: its embedding queue.
        input_size: height and width of the network's input.
        thresholds: of a file, for match probabilities; None without.
    """

    fingerprint: str
    batcher: Batcher
    input_size: tuple[int, int]
    thresholds: Thresholds | None


class ServedModels:
    """The model of a gallery, opened again when the gallery moves to another one.

    Args:
        embedder, thresholds: of the gallery's model.
        waiting: images that may wait in the embedding queue.
        metrics: where embedded and waiting images are counted.
        reopen: opens another model; without it the service has to be restarted then.

    Attributes:
        held: the model in use.
    """

    def __init__(
        self,
        embedder: ImageEmbedder,
        thresholds: Thresholds | None,
        waiting: int,
        metrics: Metrics,
        reopen: OpenModel | None = None,
    ) -> None:
        self._waiting, self._metrics, self._reopen = waiting, metrics, reopen
        self._opening = threading.Lock()
        self.held = self._served(embedder, thresholds)
        metrics.watch("reid_pictures_waiting", "For the network", lambda: self.held.batcher.waiting)

    def of(self, gallery: GalleryReader) -> ServedModel:
        """The model of the gallery's embeddings as they are now.

        Raises:
            Problem: the gallery moved to a model that cannot be opened here.
        """
        if self._fits(gallery):
            return self.held
        with self._opening:
            if not self._fits(gallery):
                before, self.held = self.held, self._open(gallery)
                # It answers the requests that were sent to it.
                threading.Thread(target=before.batcher.close, daemon=True).start()
        return self.held

    def thresholds(self, gallery: GalleryReader) -> Thresholds | None:
        """The thresholds of the gallery's model; None while they are another model's."""
        return self.held.thresholds if self._fits(gallery) else None

    def close(self) -> None:
        """Finish the embedding queue."""
        self.held.batcher.close()

    def _fits(self, gallery: GalleryReader) -> bool:
        return gallery.fingerprint in (None, self.held.fingerprint)

    def _open(self, gallery: GalleryReader) -> ServedModel:
        _, name, dim = gallery.model()
        try:
            if name is None or self._reopen is None:
                raise ReidError("no way to open another model was given")
            embedder = self._reopen(name)
            gallery.check_model(embedder.fingerprint, embedder.dim)
        except ReidError as error:
            logger.error("the gallery holds embeddings of %s by now (%s): restart", name, error)
            raise Problem(
                503,
                f"the gallery moved to the model {Path(name or '').name} of {dim} dimensions, "
                "which the service cannot open: restart it with that --checkpoint",
            ) from error
        logger.warning("the gallery moved to the model %s: queries follow", name)
        return self._served(embedder, None)  # a thresholds file was the old model's

    def _served(self, embedder: ImageEmbedder, thresholds: Thresholds | None) -> ServedModel:
        def embed(images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
            self._metrics.embedded.inc(len(images))
            return embedder(images)

        batcher = Batcher(embed, self._waiting)
        return ServedModel(embedder.fingerprint, batcher, embedder.card.size, thresholds)
