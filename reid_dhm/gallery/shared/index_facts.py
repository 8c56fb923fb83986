"""What is known of the vector index of a shared gallery; training it is not done here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class IndexFacts:
    """The vector index of a shared gallery.

    Attributes:
        kind: of Lance: ``IVF_HNSW_SQ``, ``IVF_PQ`` …
        partitions: of the inverted file.
        nprobes: partitions that a search visits.
        ef: of a graph; 0 without.
        depth: proposals per neighbour, to be rescored.
        recall: recall@10 in searches for a sample of its own tracklets.
        rows: tracklets when it was trained.
    """

    kind: str
    partitions: int
    nprobes: int
    ef: int
    depth: int
    recall: float
    rows: int

    def effort(self, k: int) -> dict[str, int]:
        """For ``k`` proposals, as :meth:`.SharedGallery.nearest` takes it."""
        return {"nprobes": self.nprobes} | ({"ef": max(self.ef, k)} if self.ef else {})
