"""Finds the thresholds file of a gallery's model, from which match probabilities come.

The file itself is read in :mod:`reid_dhm.evaluation.thresholds`.
"""

from __future__ import annotations

import logging
from pathlib import Path

from reid_dhm.errors import InputError, ModelMismatchError
from reid_dhm.evaluation.thresholds import Thresholds, read_thresholds
from reid_dhm.inference.checkpoint_file import checkpoint_path

NAME = "thresholds.json"

_log = logging.getLogger(__name__)


def open_thresholds(
    fingerprint: str, checkpoint: Path | None = None, file: Path | None = None
) -> Thresholds | None:
    """The thresholds of a model: the file given, or the one beside its checkpoint.

    A file that is given must fit. One beside the checkpoint that does not fit, because the model
    was trained on since, is ignored with a warning.

    Args:
        fingerprint: of the model.
        checkpoint: run folder (its ``thresholds.json``), weights (``NAME.thresholds.json``), or a
            name of the model zoo.
        file: given by the user.

    Returns:
        None if no file was given and there is none beside the checkpoint.

    Raises:
        InputError: the file given is missing, malformed or not of cosine similarities.
        ModelMismatchError: it belongs to another model.
    """
    if file is not None:
        return _read(file, fingerprint)
    beside = None if checkpoint is None else _beside(checkpoint_path(checkpoint))
    if beside is None:
        return None
    try:
        return _read(beside, fingerprint)
    except InputError as error:
        _log.warning("no match probabilities: %s", error)
        return None


def check_thresholds(
    thresholds: Thresholds, fingerprint: str, source: str = "the thresholds file"
) -> None:
    """Refuse thresholds that do not apply to a model's cosine similarities.

    Thresholds of embeddings without a known model are accepted.

    Raises:
        InputError: they are of another metric.
        ModelMismatchError: they are another model's.
    """
    if thresholds.metric != "cosine":
        raise InputError(
            f"{source} is about {thresholds.metric} scores, and galleries are searched by cosine "
            "similarity: evaluate the model again with --metric cosine"
        )
    if thresholds.model not in (None, fingerprint):
        raise ModelMismatchError(
            f"{source} belongs to another model (fingerprint {thresholds.model[:12]}, the "
            f"gallery's is {fingerprint[:12]}): evaluate the gallery's model to write its own"
        )


def _read(file: Path, fingerprint: str) -> Thresholds:
    thresholds = read_thresholds(file)
    check_thresholds(thresholds, fingerprint, str(file))
    return thresholds


def _beside(checkpoint: Path) -> Path | None:
    places = [checkpoint.with_suffix(f".{NAME}"), checkpoint.parent / NAME]
    if checkpoint.is_dir():
        places = [checkpoint / NAME]
    elif checkpoint.name != "best.safetensors":
        del places[1]  # that of another file, perhaps
    return next((place for place in places if place.is_file()), None)
