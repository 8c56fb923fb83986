"""Retrieval over arrays: indexing, exact CMC/mAP/mINP, what else a ranking tells, and its files.

Nothing here knows of images or models.
"""

from reid_dhm.retrieval.cameras import CameraPairs, camera_pairs
from reid_dhm.retrieval.confidence import Estimate, intervals, paired_differences
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
from reid_dhm.retrieval.thresholds import Thresholds, read_thresholds, write_thresholds
from reid_dhm.retrieval.verification import Calibration, OperatingPoint, PairScores, pair_scores

__all__ = [
    "Calibration",
    "CameraPairs",
    "EmbeddingSet",
    "Estimate",
    "GalleryIndex",
    "OperatingPoint",
    "PairScores",
    "Protocol",
    "RetrievalResult",
    "Thresholds",
    "camera_pairs",
    "evaluate",
    "evaluate_single_shot",
    "intervals",
    "pair_scores",
    "paired_differences",
    "pool_queries",
    "read_embeddings",
    "read_evaluation_npz",
    "read_thresholds",
    "write_embeddings",
    "write_evaluation_npz",
    "write_thresholds",
]
