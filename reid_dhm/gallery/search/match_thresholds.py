"""The thresholds file that goes with a gallery's model, for match probabilities.

The file itself is :mod:`reid_dhm.evaluation.thresholds`'.
"""

from __future__ import annotations

import logging
from pathlib import Path

from reid_dhm.errors import InputError
from reid_dhm.evaluation.thresholds import Thresholds, read_thresholds

NAME = "thresholds.json"

_log = logging.getLogger(__name__)


def open_thresholds(
    fingerprint: str, checkpoint: Path | None = None, file: Path | None = None
) -> Thresholds | None:
    """The thresholds of a model: those that are named, or those that lie beside its checkpoint.

    A file that is named has to fit. One that lies beside the checkpoint and does not, because the
    model was trained on since, is left alone with a warning.

    Args:
        fingerprint: of the model.
        checkpoint: run folder (its ``thresholds.json``) or weights (``NAME.thresholds.json``).
        file: named by the user.

    Returns:
        None if no file is named and none lies there.

    Raises:
        InputError: the file that is named is missing, malformed, another model's or not of cosine
            similarities.
    """
    if file is not None:
        thresholds = read_thresholds(file)
        check_thresholds(thresholds, fingerprint, str(file))
        return thresholds
    beside = None if checkpoint is None else _beside(checkpoint)
    if beside is None:
        return None
    try:
        thresholds = read_thresholds(beside)
        check_thresholds(thresholds, fingerprint, str(beside))
    except InputError as error:
        _log.warning("no match probabilities: %s", error)
        return None
    return thresholds


def check_thresholds(
    thresholds: Thresholds, fingerprint: str, source: str = "the thresholds file"
) -> None:
    """Refuse thresholds that say nothing about a model's cosine similarities.

    Those of embeddings without a known model are taken at the user's word.

    Raises:
        InputError: they are another model's, or of another metric.
    """
    if thresholds.metric != "cosine":
        raise InputError(
            f"{source} is about {thresholds.metric} scores, and galleries are searched by cosine "
            "similarity: evaluate the model again with --metric cosine"
        )
    if thresholds.model not in (None, fingerprint):
        raise InputError(
            f"{source} belongs to another model (fingerprint {thresholds.model[:12]}, the "
            f"gallery's is {fingerprint[:12]}): evaluate the gallery's model to write its own"
        )


def _beside(checkpoint: Path) -> Path | None:
    places = [checkpoint.with_suffix(f".{NAME}"), checkpoint.parent / NAME]
    if checkpoint.is_dir():
        places = [checkpoint / NAME]
    elif checkpoint.name != "best.safetensors":
        del places[1]  # another file's, perhaps
    return next((place for place in places if place.is_file()), None)
