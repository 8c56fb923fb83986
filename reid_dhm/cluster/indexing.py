"""Indexing many sources on a Ray cluster: each is a task, and is handed over once.

A task indexes its source into a gallery in a folder of its worker's disk, crash-safely as on one
machine, and then copies that fragment to the shared gallery, in one commit. A task that dies is
run again: on the same machine it continues the fragment, elsewhere it begins anew; in both cases
ids are content hashes, so that nobody is added twice.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reid_dhm.cluster.connection import cluster
from reid_dhm.cluster.manifest import ListedSource
from reid_dhm.errors import InputError, ReidError
from reid_dhm.extras import require
from reid_dhm.gallery.ingest.options import IndexingOptions

_RETRIES = 20
"""How often a task is run again whose worker died."""


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """How each source is indexed.

    Attributes:
        gallery: address of the shared gallery.
        detector, confidence: as for ``index-video``.
        options: stride, span and tracking.
        checkpoint: the model that embeds people, as a worker finds it; None for the package's.
        details: ``backbone``, ``size``, ``neck`` and ``input`` of a checkpoint without a card.
        device: where a worker embeds.
    """

    gallery: Path
    detector: str = "motion"
    confidence: float | None = None
    options: IndexingOptions | None = None
    checkpoint: Path | None = None
    details: tuple[Any, Any, Any, Any] = (None, None, None, None)
    device: str = "auto"


@dataclass(frozen=True, slots=True)
class SourceResult:
    """What became of a source.

    Attributes:
        source: which.
        tracklets: handed over now.
        known: whether the gallery held it before.
        frames: processed now.
        failure: why it failed, in one line; None if it did not.
    """

    source: ListedSource
    tracklets: int = 0
    known: bool = False
    frames: int = 0
    failure: str | None = None


def index_source(source: ListedSource, how: ClusterOptions) -> SourceResult:
    """Index one source on this machine and hand it over; what a task of the cluster does."""
    from reid_dhm.gallery.footage.sources import open_source
    from reid_dhm.gallery.ingest.index_video import index_video
    from reid_dhm.gallery.opening import copy_gallery, open_gallery
    from reid_dhm.gallery.store.gallery import GalleryStore
    from reid_dhm.inference.checkpoint_file import model_name

    fragments = _fragments(source, how)
    try:
        frames = open_source(source.source)
        if frames.info.live:
            raise InputError(f"{source.name} is live and never ends: index it on one machine")
        if _is_there(frames.info.hash, source, how.gallery):
            _remove(fragments)
            return SourceResult(source, known=True)
        embedder = _embedder(how)
        fragment = _fragment(fragments, embedder.fingerprint, how)
        summary = index_video(
            fragment,
            frames,
            source.camera,
            embedder,
            model_name(how.checkpoint),
            detector=how.detector,
            confidence=how.confidence,
            options=how.options,
            start=source.start,
        )
        with GalleryStore(fragment) as own, open_gallery(how.gallery, create=True) as shared:
            copied = copy_gallery(own, shared)
    except ReidError as error:
        if isinstance(error, InputError):  # refused, and so it will be the next time
            _remove(fragments)
        return SourceResult(source, failure=f"{source.name}: {error}")
    _remove(fragments)  # everything of it is in the shared gallery
    return SourceResult(source, copied.tracklets, not copied.videos, summary.frames)


def index_sources(
    sources: Sequence[ListedSource],
    how: ClusterOptions,
    address: str,
    cpus: float = 1.0,
    gpus: float = 0.0,
    report: Callable[[int, int], None] | None = None,
) -> list[SourceResult]:
    """Index all sources on a Ray cluster.

    Args:
        sources: which; those that the gallery holds already are recognised by their content.
        how: model, detector and gallery.
        address: of the cluster: ``ray://HOST:10001``, ``HOST:6379``, or ``local`` to start one on
            this machine.
        cpus, gpus: that a source needs.
        report: called with the number of sources done and of all.

    Returns:
        What became of each source, in the order they were given.

    Raises:
        UnsupportedError: Ray is not installed.
        InputError: the cluster cannot be reached.
    """
    require("cluster", "--ray", "ray", "lance")
    import ray

    with cluster(address):
        task = ray.remote(index_source).options(
            num_cpus=cpus, num_gpus=gpus, max_retries=_RETRIES, name="index-video"
        )
        shared = ray.put(how)
        waiting = {task.remote(source, shared): source for source in sources}
        done: dict[ListedSource, SourceResult] = {}
        while waiting:
            ready, _ = ray.wait(list(waiting), num_returns=1)
            source = waiting.pop(ready[0])
            try:
                done[source] = ray.get(ready[0])
            except ray.exceptions.RayError as error:
                reason = str(error).strip().splitlines()[-1][:300]
                done[source] = SourceResult(source, failure=f"{source.name}: {reason}")
            if report is not None:
                report(len(done), len(sources))
    return [done[source] for source in sources]


def _is_there(hash: str, source: ListedSource, gallery: Path) -> bool:
    """Whether the shared gallery holds a video whole, seen by that camera at that time."""
    from reid_dhm.gallery.opening import open_gallery

    with open_gallery(gallery, create=True) as shared:
        for video in shared.videos():
            if video.hash == hash:
                same = (video.camera, video.start_time) == (source.camera, source.start)
                return video.complete and same
    return False


_EMBEDDERS: dict[Any, Any] = {}


def _embedder(how: ClusterOptions) -> Any:
    """The model, once per worker process."""
    from reid_dhm.inference.checkpoint_file import find_checkpoint
    from reid_dhm.inference.default import DEFAULT_CHECKPOINT
    from reid_dhm.inference.embedder import Embedder

    key = (how.checkpoint, how.details, how.device)
    if key not in _EMBEDDERS:
        found = find_checkpoint(how.checkpoint or DEFAULT_CHECKPOINT, *how.details)
        _EMBEDDERS[key] = Embedder(found, device=how.device, precision="float32")
    return _EMBEDDERS[key]


def _fragments(source: ListedSource, how: ClusterOptions) -> str:
    """What the names of a source's fragments begin with, the same for each try on one machine."""
    words = (how.gallery, source.source, source.camera, source.start)
    return f"reid-dhm-fragment-{_digest(*words)}"


def _fragment(fragments: str, fingerprint: str, how: ClusterOptions) -> Path:
    """The folder of a source's fragment of a model, detector and options, below TMPDIR."""
    words = (fingerprint, how.detector, how.confidence, how.options)
    return Path(tempfile.gettempdir()) / f"{fragments}-{_digest(*words)}"


def _remove(fragments: str) -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{fragments}-*"):
        shutil.rmtree(folder, ignore_errors=True)


def _digest(*words: object) -> str:
    text = "\n".join(map(str, words)).encode("utf-8", "surrogateescape")
    return hashlib.blake2b(text, digest_size=8).hexdigest()
