"""Retrieval over arrays: indexing, exact CMC/mAP/mINP, what else a ranking tells, and its files.

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
from reid_dhm.retrieval.pooling import pool_queries
from reid_dhm.retrieval.results import Protocol, RetrievalResult
from reid_dhm.retrieval.single_shot import evaluate_single_shot

__all__ = [
    "EmbeddingSet",
    "GalleryIndex",
    "Protocol",
    "RetrievalResult",
    "evaluate",
    "evaluate_single_shot",
    "pool_queries",
    "read_embeddings",
    "read_evaluation_npz",
    "write_embeddings",
    "write_evaluation_npz",
]
