"""How embeddings are ranked: everything that an evaluation can be asked for."""

from __future__ import annotations

from dataclasses import dataclass

from reid_dhm.devices import check_device_name
from reid_dhm.errors import InputError
from reid_dhm.retrieval.protocol import Reranking


@dataclass(frozen=True)
class Settings:
    """Settings of an evaluation.

    Attributes:
        metric, camera_rule, ap: see :class:`~reid_dhm.retrieval.protocol.Protocol`.
        single_shot: number of draws of one gallery image per person (CUHK03 classic); 0 ranks
            the whole gallery.
        multi_query: ``mean`` or ``max`` pools the queries of one person and camera.
        query_expansion, database_augmentation: neighbours averaged into every query and gallery
            embedding; 0 leaves them as they are.
        alpha: exponent of the similarity by which neighbours are weighted.
        rerank: k-reciprocal re-ranking, or None.
        top_k: length of the ranked lists.
        seed: of draws and intervals, 0 to 2³² - 1.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        rates: false-positive rates for which thresholds are chosen, each between 0 and 1.

    Raises:
        InputError: for settings that exclude each other.
    """

    metric: str = "cosine"
    camera_rule: bool = True
    ap: str = "standard"
    single_shot: int = 0
    multi_query: str | None = None
    query_expansion: int = 0
    database_augmentation: int = 0
    alpha: float = 3.0
    rerank: Reranking | None = None
    top_k: int = 10
    seed: int = 0
    device: str = "auto"
    rates: tuple[float, ...] = (1e-2, 1e-3, 1e-4)

    def __post_init__(self) -> None:
        check_device_name(self.device)
        if not 0 <= self.seed < 2**32:  # the range of scikit-learn's seeds
            raise InputError(f"seed is {self.seed:.0f}: give 0 to {2**32 - 1}")
        if self.single_shot and self.rerank:
            raise InputError("re-ranking needs the whole gallery: leave out single-shot")
        if self.single_shot and self.ap != "standard":
            raise InputError(
                f"ap is {self.ap}, but single-shot has one correct image: leave out one of them"
            )

    @property
    def changes_embeddings(self) -> bool:
        """Whether the ranked embeddings are not those of single images as the model made them."""
        return bool(self.multi_query or self.query_expansion or self.database_augmentation)

    @property
    def calibrates_search(self) -> bool:
        """Whether pairs are scored as a gallery search scores them, between cameras."""
        return self.metric == "cosine" and self.camera_rule and not self.changes_embeddings
