"""What an evaluation refuses before it starts, and the device that it runs on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reid_dhm.errors import InputError
from reid_dhm.retrieval.embeddings import EmbeddingSet


def check_sets(query: EmbeddingSet, gallery: EmbeddingSet) -> None:
    """Refuse sets of different dimension, and junk.

    Raises:
        InputError: naming the side and the first row of it.
    """
    if query.dim != gallery.dim:
        raise InputError(
            f"query embeddings have {query.dim} dimensions and gallery embeddings {gallery.dim}; "
            "make both with the same model"
        )
    for side, embeddings in (("query", query), ("gallery", gallery)):
        if (embeddings.pids < 0).any():
            row = int(np.argmax(embeddings.pids < 0))
            raise InputError(
                f"{side} pid in row {row} is {embeddings.pids[row]}; drop junk images (negative "
                "pids) before evaluating"
            )


def check_lengths(ranks: Sequence[int], top_k: int) -> None:
    """Refuse a CMC rank, or a length of lists, below 1.

    Raises:
        InputError: naming them.
    """
    if not ranks or min(ranks) < 1:
        raise InputError(f"ranks is {tuple(ranks)}; give one or more k, each 1 or above")
    if top_k < 1:
        raise InputError(f"top_k is {top_k}; ask for 1 image or more")


def no_match(query: EmbeddingSet, gallery: EmbeddingSet, camera_rule: bool) -> str:
    """Why no query has a correct gallery image, and the mend: the message of an error."""
    shared = bool(np.isin(query.pids, gallery.pids).any())
    if camera_rule and shared:
        return (
            "no query has a correct gallery image from another camera, usually because every "
            "identity was seen by one camera only; turn the camera rule off (--no-camera-rule, or "
            "test.camera_rule=false in training) or give images from more cameras"
        )
    return (
        "no query has a correct gallery image because query and gallery share no person id; "
        "check that both number their people alike"
    )
