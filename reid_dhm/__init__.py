"""Person re-identification with Dynamic Hierarchical Mimicking: train, evaluate, search video.

The public interface, for notebooks and programs. The names below are imported when they are first
used, so ``import reid_dhm`` itself loads neither PyTorch nor OpenCV.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from reid_dhm.errors import (
    InputError,
    LockedError,
    ModelMismatchError,
    NotFoundError,
    ReidError,
    StorageError,
    UnsupportedError,
)
from reid_dhm.version import __version__

if TYPE_CHECKING:
    from reid_dhm.api.embedding import Embedder
    from reid_dhm.api.evaluation import EvaluationResult, evaluate
    from reid_dhm.api.gallery import Candidate, Candidates, Gallery, ModelComparison
    from reid_dhm.api.people import People
    from reid_dhm.api.training import ExportedFile, TrainingRun, export, train

__all__ = [
    "Candidate",
    "Candidates",
    "Embedder",
    "EvaluationResult",
    "ExportedFile",
    "Gallery",
    "InputError",
    "LockedError",
    "ModelComparison",
    "ModelMismatchError",
    "NotFoundError",
    "People",
    "ReidError",
    "StorageError",
    "TrainingRun",
    "UnsupportedError",
    "__version__",
    "evaluate",
    "export",
    "train",
]

_LAZY = {
    "Embedder": "embedding",
    "EvaluationResult": "evaluation",
    "evaluate": "evaluation",
    "Gallery": "gallery",
    "Candidate": "gallery",
    "Candidates": "gallery",
    "People": "people",
    "ModelComparison": "gallery",
    "ExportedFile": "training",
    "TrainingRun": "training",
    "export": "training",
    "train": "training",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"reid_dhm.api.{_LAZY[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
