"""Checks before a ranking, and the error when no query can be answered."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reid_dhm.errors import InputError
from reid_dhm.retrieval.embeddings import EmbeddingSet


def check_sets(query: EmbeddingSet, gallery: EmbeddingSet) -> None:
    """Refuse sets of different dimension, and junk images (negative pids).

    Raises:
        InputError: names the side and its first bad row.
    """
    if query.dim != gallery.dim:
        raise InputError(
            f"query embeddings have {query.dim} dimensions and gallery embeddings {gallery.dim}: "
            "make both with the same model"
        )
    for side, embeddings in (("query", query), ("gallery", gallery)):
        if (embeddings.pids < 0).any():
            row = int(np.argmax(embeddings.pids < 0))
            raise InputError(
                f"{side} pid in row {row} is {embeddings.pids[row]}: remove junk images (negative "
                "pids) before evaluating"
            )


def check_lengths(ranks: Sequence[int], top_k: int) -> None:
    """Refuse a CMC rank k or a list length below 1.

    Raises:
        InputError: names them.
    """
    if not ranks or min(ranks) < 1:
        raise InputError(f"ranks is {tuple(ranks)}: give one or more k, each 1 or more")
    check_top_k(top_k)


def check_top_k(top_k: int) -> None:
    """Refuse a list length that is no whole number, or below 1.

    Raises:
        InputError: names it.
    """
    if isinstance(top_k, bool) or not isinstance(top_k, int | np.integer) or top_k < 1:
        raise InputError(f"top_k is {top_k!r:.60}: give a whole number, 1 or more")


def no_match(query: EmbeddingSet, gallery: EmbeddingSet, camera_rule: bool) -> str:
    """Error message: why no query has a correct gallery image, and what to do."""
    shared = bool(np.isin(query.pids, gallery.pids).any())
    if camera_rule and shared:
        return (
            "no query has a correct gallery image from another camera, usually because every "
            "identity was seen by one camera only: turn the camera rule off (--no-camera-rule, or "
            "test.camera_rule=false in training) or add images from other cameras"
        )
    return (
        "no query has a correct gallery image because query and gallery share no person id: "
        "use the same ids in both"
    )
