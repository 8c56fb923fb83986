"""The definitions behind a ranking: metric, camera rule, average precision, re-ranking."""

from __future__ import annotations

from dataclasses import dataclass

from reid_dhm.errors import InputError

METRICS = ("cosine", "euclidean")
AP_KINDS = ("standard", "trapezoid")
GALLERIES = ("all", "single-shot")


@dataclass(frozen=True)
class Protocol:
    """The definition of a correct match, of similarity and of average precision.

    Attributes:
        metric: ``cosine`` (embeddings normalised) or ``euclidean`` (embeddings as they are).
        camera_rule: ignore gallery images of the query's person from the query's camera
            (Market-1501 and its successors); False ranks them as correct.
        ap: ``standard`` or ``trapezoid``, see :func:`.metrics.average_precision`.
        gallery: ``all`` ranks every image; ``single-shot`` one random image per person, see
            :func:`.rank_single_shot`.
        repeats, seed: of the draws under ``single-shot``; None under ``all``.

    Raises:
        InputError: an unknown name, too few draws, or draws without ``single-shot``.
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
                raise InputError(f"{name} is {value!r} but the gallery is all: leave it out")
            if self.gallery == "single-shot" and (value is None or value < least):
                raise InputError(f"{name} is {value!r}: give {least} or more")


@dataclass(frozen=True)
class Reranking:
    """Settings of re-ranking, with the names and defaults of the paper.

    Attributes:
        k1: neighbours of an image that can be reciprocal.
        k2: neighbours, including the image itself, over which its membership is averaged (local
            query expansion); 1 turns it off.
        weight: λ, the weight of the original distance in the final one, 0 to 1.

    Raises:
        InputError: for a value out of range.
    """

    k1: int = 20
    k2: int = 6
    weight: float = 0.3

    def __post_init__(self) -> None:
        for name in ("k1", "k2"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} of re-ranking is {getattr(self, name)}: give 1 or more")
        if not 0 <= self.weight <= 1:
            raise InputError(
                f"lambda of re-ranking is {self.weight}: give the weight of the original distance, "
                "0 to 1"
            )


PUBLISHED = Reranking()
