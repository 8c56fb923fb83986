"""Thresholds files for the match probabilities of searches, where a user gives one.

Without one, those count that were found in the gallery itself
(:mod:`reid_dhm.gallery.people.thresholds.stored`). The file itself is read in
:mod:`reid_dhm.evaluation.thresholds`.
"""

from __future__ import annotations

from pathlib import Path

from reid_dhm.errors import InputError, ModelMismatchError
from reid_dhm.evaluation.thresholds import Thresholds, read_thresholds


def open_thresholds(fingerprint: str, file: Path | None) -> Thresholds | None:
    """The thresholds of a file; None without a file.

    Args:
        fingerprint: of the gallery's model.
        file: given by the user.

    Raises:
        InputError: the file is missing, malformed or not of cosine similarities.
        ModelMismatchError: it belongs to another model.
    """
    if file is None:
        return None
    thresholds = read_thresholds(file)
    check_thresholds(thresholds, fingerprint, str(file))
    return thresholds


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
