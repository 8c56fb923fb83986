"""The definitions behind a ranking: metric, camera rule, average precision, re-ranking."""

from __future__ import annotations

from dataclasses import dataclass

from reid_dhm.errors import InputError

METRICS = ("cosine", "euclidean")
AP_KINDS = ("standard", "trapezoid")
GALLERIES = ("all", "single-shot")


@dataclass(frozen=True)
class Protocol:
    """What counts as a correct answer, and how closeness and AP are defined.

    Attributes:
        metric: ``cosine`` (both sides normalised) or ``euclidean`` (embeddings as they are).
        camera_rule: leave out gallery images of the query's own person from its own camera
            (Market-1501 and its successors); False ranks them as correct answers.
        ap: ``standard`` or ``trapezoid``, see :func:`.metrics.average_precision`.
        gallery: ``all`` ranks every image; ``single-shot`` one drawn image of each person, see
            :func:`.rank_single_shot`.
        repeats, seed: of the draws under ``single-shot``; None under ``all``.

    Raises:
        InputError: for an unknown name, or draws that are too few or of no use.
    """

    metric: str = "cosine"
    camera_rule: bool = True
    ap: str = "standard"
    gallery: str = "all"
    repeats: int | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        known_names = {"metric": METRICS, "ap": AP_KINDS, "gallery": GALLERIES}
        for name, known in known_names.items():
            value = getattr(self, name)
            if value not in known:
                raise InputError(f"{name} is {value!r}; choose one of {', '.join(known)}")
        for name, least in (("repeats", 1), ("seed", 0)):
            value = getattr(self, name)
            if self.gallery == "all" and value is not None:
                raise InputError(f"{name} is {value!r} but nothing is drawn; leave it out")
            if self.gallery == "single-shot" and (value is None or value < least):
                raise InputError(f"{name} is {value!r}; give {least} or more")


@dataclass(frozen=True)
class Reranking:
    """Settings, named as in the paper; the defaults are its own.

    Attributes:
        k1: neighbours of an image among which the reciprocal ones are sought.
        k2: neighbours, itself among them, over which its membership is averaged (local query
            expansion); 1 leaves it out.
        weight: λ, the share of the original distance in the final one, between 0 and 1.

    Raises:
        InputError: for a value out of range.
    """

    k1: int = 20
    k2: int = 6
    weight: float = 0.3

    def __post_init__(self) -> None:
        for name in ("k1", "k2"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} of re-ranking is {getattr(self, name)}; give 1 or more")
        if not 0 <= self.weight <= 1:
            raise InputError(
                f"the weight of re-ranking is {self.weight}; give the share of the original "
                "distance, between 0 and 1"
            )


PUBLISHED = Reranking()
