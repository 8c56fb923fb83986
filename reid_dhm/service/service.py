"""What all requests share: connections, the index, the network's queue, open videos, figures."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import numpy as np
from fastapi import Depends, Request
from numpy.typing import NDArray

from reid_dhm.data.pictures import resize_picture
from reid_dhm.gallery import audit
from reid_dhm.gallery.live_index import LiveIndex
from reid_dhm.gallery.search import Searcher
from reid_dhm.gallery.store import Gallery
from reid_dhm.service.access import Sessions, Tokens
from reid_dhm.service.batching import Batcher
from reid_dhm.service.connections import Connections
from reid_dhm.service.frames import Frames
from reid_dhm.service.metrics import Metrics

if TYPE_CHECKING:
    from reid_dhm.models.card import ModelCard
    from reid_dhm.retrieval.thresholds import Thresholds


class PictureEmbedder(Protocol):
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

    def __call__(self, pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """(N, D) unit rows of N pictures, each (H, W, 3) uint8 RGB."""
        ...


@dataclass
class Service:
    """A running service.

    Attributes:
        connections: to the gallery.
        index: over its embeddings.
        batcher: the network's queue.
        input_size: height and width of the network's input.
        thresholds: for match probabilities; None without.
        tokens: that open the service.
        sessions: of people who signed in.
        frames: of the gallery's videos.
        metrics: figures.
    """

    connections: Connections
    index: LiveIndex
    batcher: Batcher
    input_size: tuple[int, int]
    thresholds: Thresholds | None
    tokens: Tokens
    sessions: Sessions = field(default_factory=Sessions)
    frames: Frames = field(default_factory=Frames)
    metrics: Metrics = field(default_factory=Metrics)
    _writing: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def open(
        cls,
        folder: Path,
        embedder: PictureEmbedder,
        thresholds: Thresholds | None,
        tokens: Tokens,
        index: str = "Flat",
        waiting: int = 64,
    ) -> Service:
        """Open a gallery for a service.

        Args:
            folder: the gallery.
            embedder: of the model that embedded what it holds.
            thresholds: of that model.
            tokens: that open the service.
            index: kind of index.
            waiting: pictures that may wait for the network.

        Raises:
            InputError: no gallery, or another model's.
        """
        connections, metrics = Connections(folder), Metrics()
        with connections.lend() as gallery:
            gallery.check_model(embedder.fingerprint, embedder.dim)

        def embed(pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
            metrics.embedded.inc(len(pictures))
            return embedder(pictures)

        batcher = Batcher(embed, waiting)
        metrics.watch("reid_pictures_waiting", "For the network", lambda: batcher.waiting)
        size = embedder.card.size
        return cls(
            connections, LiveIndex(index), batcher, size, thresholds, tokens, metrics=metrics
        )

    def close(self) -> None:
        """Finish what waits and let go of everything."""
        self.batcher.close()
        self.frames.forget()
        self.connections.close()

    @property
    def name(self) -> str:
        """What the gallery is called."""
        return self.connections.folder.resolve().name

    @contextmanager
    def gallery(self) -> Iterator[Gallery]:
        """A connection for the calling thread."""
        with self.connections.lend() as gallery:
            yield gallery

    @contextmanager
    def searcher(self) -> Iterator[Searcher]:
        """A searcher for the calling thread; all share the index."""
        with self.connections.lend() as gallery:
            yield Searcher(gallery, self.index, self.thresholds)

    def embed(self, pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """(N, D) embeddings of pictures of people; see :class:`~.batching.Batcher`."""
        return self.batcher([self._shrunk(picture) for picture in pictures])

    def _shrunk(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        # As the embedder does it with whatever is not smaller than its input; what waits in the
        # queue then takes little memory.
        height, width = self.input_size
        if picture.shape[0] <= height and picture.shape[1] <= width:
            return picture
        return resize_picture(picture, self.input_size)

    @contextmanager
    def writing(self) -> Iterator[Gallery]:
        """A connection to write with: threads queue here rather than at SQLite, which polls."""
        with self._writing, self.connections.lend() as gallery:
            yield gallery

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
