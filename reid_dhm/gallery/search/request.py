"""What is searched for, whatever the interface: command line, service, notebook or report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from reid_dhm.errors import InputError
from reid_dhm.gallery.records import TrackletFilter, TrackletId
from reid_dhm.retrieval.checks import check_top_k


@dataclass(frozen=True)
class SearchRequest:
    """A search for one person, but for the embeddings of query images.

    Attributes:
        where: which tracklets may be returned.
        tracklets: tracklets of the person; they are searched for and not returned.
        confirmed: candidates of an earlier search that show the person; they may be returned.
        rejected: candidates that show somebody else; the query moves away from them, and they are
            not returned.
        top_k: maximum number of candidates, 1 or more.
        min_similarity: lowest similarity of a candidate, -1 to 1; None for no limit.
        by_person: return only the best tracklet of every person.

    Raises:
        InputError: ``top_k`` or ``min_similarity`` is out of range.
    """

    where: TrackletFilter = field(default_factory=TrackletFilter)
    tracklets: Sequence[TrackletId] = ()
    confirmed: Sequence[TrackletId] = ()
    rejected: Sequence[TrackletId] = ()
    top_k: int = 10
    min_similarity: float | None = None
    by_person: bool = False

    def __post_init__(self) -> None:
        check_top_k(self.top_k)
        if self.min_similarity is not None and not -1 <= self.min_similarity <= 1:
            raise InputError(f"min_similarity is {self.min_similarity}: need -1 to 1")
