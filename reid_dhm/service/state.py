"""What all requests share: connections, the index, the network's queue, open videos, figures."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import numpy as np
from fastapi import Depends, Request
from numpy.typing import NDArray

from reid_dhm.data.images import resize_image
from reid_dhm.errors import LockedError, StorageError
from reid_dhm.gallery.index.live_index import LiveIndex
from reid_dhm.gallery.search.query_image import QueryCrop, check_stateless, crop_query
from reid_dhm.gallery.search.searcher import Searcher
from reid_dhm.gallery.store import audit
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.service.auth import Sessions, Tokens
from reid_dhm.service.batching import Batcher
from reid_dhm.service.connections import Connections
from reid_dhm.service.frames.frames import Frames
from reid_dhm.service.middleware.metrics import Metrics

if TYPE_CHECKING:
    from reid_dhm.evaluation.thresholds import Thresholds
    from reid_dhm.gallery.detect.protocol import Detector
    from reid_dhm.gallery.records import Box
    from reid_dhm.models.card import ModelCard


logger = logging.getLogger(__name__)

_RETRY_SECONDS = 10.0


class ImageEmbedder(Protocol):
    """What the service needs of an :class:`~reid_dhm.inference.embedder.Embedder`."""

    card: ModelCard

    @property
    def dim(self) -> int:
        """D, the length of an embedding."""
        ...

    @property
    def fingerprint(self) -> str:
        """Of the model."""
        ...

    def __call__(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """(N, D) unit rows of N images, each (H, W, 3) uint8 RGB."""
        ...


@dataclass
class Service:
    """A running service.

    Attributes:
        connections: to the gallery.
        index: over its embeddings.
        batcher: the network's queue.
        input_size: height and width of the network's input.
        tokens: that open the service.
        thresholds: for match probabilities; None without.
        detector: finds people in images; None without.
        sessions: of people who signed in.
        frames: of the gallery's videos.
        metrics: figures.
    """

    connections: Connections
    index: LiveIndex
    batcher: Batcher
    input_size: tuple[int, int]
    tokens: Tokens
    thresholds: Thresholds | None = None
    detector: Detector | None = None
    sessions: Sessions = field(default_factory=Sessions)
    frames: Frames = field(default_factory=Frames)
    metrics: Metrics = field(default_factory=Metrics)
    _writing: threading.Lock = field(default_factory=threading.Lock)
    _detecting: threading.Lock = field(default_factory=threading.Lock)
    _overwriting: threading.Lock = field(default_factory=threading.Lock)
    _closed: threading.Event = field(default_factory=threading.Event)

    @classmethod
    def open(
        cls,
        folder: Path,
        embedder: ImageEmbedder,
        tokens: Tokens,
        thresholds: Thresholds | None = None,
        detector: Detector | None = None,
        index: str = "Flat",
        waiting: int = 64,
    ) -> Service:
        """Open a gallery for a service.

        Args:
            folder: the gallery.
            embedder: of the model that embedded what it holds.
            tokens: that open the service.
            thresholds: of that model.
            detector: finds the person in images that come without a box.
            index: kind of index.
            waiting: images that may wait for the network.

        Raises:
            InputError: no gallery, another model's, a detector that needs a whole video, or an
                unknown kind of index.
        """
        # Whole, so that it can be told from other words in what the gallery says.
        connections = Connections(folder.resolve())
        metrics, live = Metrics(), LiveIndex(index)
        with connections.lend() as gallery:
            gallery.check_model(embedder.fingerprint, embedder.dim)
        if detector is not None:
            check_stateless(detector)
        with connections.lend() as gallery:
            if gallery.state().tracklets:
                live.opened(gallery)  # so that the first search need not wait for it

        def embed(images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
            metrics.embedded.inc(len(images))
            return embedder(images)

        batcher = Batcher(embed, waiting)
        metrics.watch("reid_pictures_waiting", "For the network", lambda: batcher.waiting)
        return cls(
            *(connections, live, batcher, embedder.card.size, tokens, thresholds, detector),
            metrics=metrics,
        )

    def close(self) -> None:
        """Finish what waits and let go of everything."""
        self._closed.set()
        self.batcher.close()
        self.frames.forget()
        self.connections.close()

    @property
    def name(self) -> str:
        """What the gallery is called."""
        return self.connections.folder.name

    @contextmanager
    def gallery(self) -> Iterator[GalleryStore]:
        """A connection for the calling thread."""
        with self.connections.lend() as gallery:
            yield gallery

    @contextmanager
    def searcher(self) -> Iterator[Searcher]:
        """A searcher for the calling thread; all share the index."""
        with self.connections.lend() as gallery:
            yield Searcher(gallery, self.index, self.thresholds)

    def crop(self, image: NDArray[np.uint8], box: Box | None, name: str) -> QueryCrop:
        """The person in an image, no larger than the network's input.

        So small, it may wait in the queue; the embedder resizes in the same way.

        Raises:
            InputError: as :func:`.crop_query`.
        """
        with self._detecting:
            crop = crop_query(image, box, self.detector, name)
        height, width = self.input_size
        if crop.pixels.shape[0] <= height and crop.pixels.shape[1] <= width:
            return crop
        return replace(crop, pixels=resize_image(crop.pixels, self.input_size))

    @contextmanager
    def writing(self) -> Iterator[GalleryStore]:
        """A connection to write with: threads queue here rather than at SQLite, which polls."""
        with self._writing, self.connections.lend() as gallery:
            yield gallery

    def overwrite(self) -> bool:
        """Take what was deleted out of the write-ahead log as well; False if it stays for now.

        A process that is reading the gallery keeps it there; then it is tried again until it is
        gone or the service ends.
        """
        if self._overwrite_now():
            return True
        threading.Thread(target=self._overwrite_later, name="overwriting", daemon=True).start()
        return False

    def _overwrite_now(self) -> bool:
        try:
            with self.writing() as gallery:
                return gallery.empty_log()
        except (LockedError, StorageError) as error:  # the deletion itself has been done
            logger.warning("%s", error)
            return False

    def _overwrite_later(self) -> None:
        if not self._overwriting.acquire(blocking=False):
            return  # another thread does it for this deletion too
        try:
            while not self._closed.wait(_RETRY_SECONDS):
                if self._overwrite_now():
                    return
        finally:
            self._overwriting.release()

    def record(self, action: str, detail: Mapping[str, Any], actor: str) -> None:
        """Write into the audit log who did what."""
        with self.writing() as gallery:
            audit.record(gallery, action, detail, actor)


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


def _actor(request: Request) -> str:
    actor: str = request.state.actor
    return actor


ServiceDep = Annotated[Service, Depends(_service)]
ActorDep = Annotated[str, Depends(_actor)]
"""Whom the audit log names: the owner of the token, or the client's address."""
