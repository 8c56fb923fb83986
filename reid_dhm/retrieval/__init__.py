"""Retrieval over arrays: indexing, exact CMC/mAP/mINP, and the files that hold embeddings.

Nothing here knows of images or models.
"""

from reid_dhm.retrieval.embeddings import (
    EmbeddingSet,
    read_embeddings,
    read_evaluation_npz,
    write_embeddings,
    write_evaluation_npz,
)
from reid_dhm.retrieval.evaluate import evaluate
from reid_dhm.retrieval.index import GalleryIndex
from reid_dhm.retrieval.results import Protocol, RetrievalResult

__all__ = [
    "EmbeddingSet",
    "GalleryIndex",
    "Protocol",
    "RetrievalResult",
    "evaluate",
    "read_embeddings",
    "read_evaluation_npz",
    "write_embeddings",
    "write_evaluation_npz",
]
