"""Embeds the people of a gallery with another model, from their stored images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from reid_dhm.errors import InputError
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.store.reembedding import NewEmbeddings, Reembedding, StoredCrop
from reid_dhm.gallery.track.crops import decode_jpeg
from reid_dhm.gallery.track.tracklets import rank_crops

if TYPE_CHECKING:
    from reid_dhm.inference.embedder import Embedder

_TRACKLETS = 64  # between commits: at most so many are embedded again after a kill

Waiting = tuple[int, list[StoredCrop]]


def reembed(
    gallery: GalleryStore,
    embedder: Embedder,
    model: str,
    report: Callable[[int, int], None] | None = None,
    actor: str | None = None,
) -> int:
    """Replace the embeddings of a gallery by another model's; the videos are not needed.

    Readers see the old embeddings until all new ones are there, then the new ones; a killed run is
    continued by the next one. Tracks, times and names stay; the images of a tracklet are ordered
    anew. A process that is indexing with the old model stops with an error at its next commit;
    indexing the same video again with the new model continues it.

    Args:
        gallery: not empty.
        embedder: of the other model.
        model: what users call it, such as a name of the model zoo or a path.
        report: called with the tracklets done and all of them.
        actor: for the audit log; the user of this process by default.

    Returns:
        Number of tracklets embedded; 0 if the gallery holds this model's embeddings already.

    Raises:
        InputError: a new gallery, which has no model, or an image that cannot be decoded.
        LockedError, StorageError: as every write; what was committed stays.
    """
    if gallery.fingerprint is None:
        raise InputError(
            f"{gallery.folder} has no embeddings yet: index a video into it with the new model"
        )
    if (gallery.fingerprint, gallery.dim) == (embedder.fingerprint, embedder.dim):
        return 0
    staged = Reembedding(gallery, embedder.fingerprint, embedder.dim, model)
    count: int | None = None
    while count is None:  # tracklets may be added until the exchange
        for batch in _batches(staged):
            staged.add(_embed(batch, embedder))
            if report is not None:
                done, total = staged.done(), gallery.count()
                report(min(done, total), total)
        count = staged.finish(actor)
    return count


def _batches(staged: Reembedding) -> Iterator[list[Waiting]]:
    after = 0
    while batch := staged.waiting(after, _TRACKLETS):
        yield batch
        after = batch[-1][0]


def _embed(batch: list[Waiting], embedder: Embedder) -> list[NewEmbeddings]:
    images = [decode_jpeg(stored.crop.jpeg) for _, crops in batch for stored in crops]
    rows = embedder(images)
    ends = np.cumsum([len(crops) for _, crops in batch])
    return [
        _tracklet(key, crops, own)
        for (key, crops), own in zip(batch, np.split(rows, ends[:-1]), strict=True)
    ]


def _tracklet(key: int, crops: list[StoredCrop], rows: NDArray[np.float32]) -> NewEmbeddings:
    order, mean = rank_crops([stored.crop for stored in crops], rows)
    return NewEmbeddings(key, mean, [crops[i].id for i in order], rows[order].astype(np.float16))
