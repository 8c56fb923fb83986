"""What the main head learns from an outside teacher: relations in the batch, and its embeddings."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from reid_dhm.models.heads import ReIDOutput
from reid_dhm.training.losses import embedding_loss, similarity_loss


@dataclass(frozen=True)
class Teacher:
    """A teacher by its embeddings of the training images, taken once before the training.

    Attributes:
        embeddings: (N, E) float32, by row of the training images.
        relations: weight of :func:`~reid_dhm.training.losses.similarity_loss` towards it.
        embedding: weight of :func:`~reid_dhm.training.losses.embedding_loss` towards it.
        temperature: of the relations.
    """

    embeddings: Tensor
    relations: float = 1.0
    embedding: float = 1.0
    temperature: float = 0.1

    def part(
        self, output: ReIDOutput, rows: Tensor, projection: nn.Module | None
    ) -> dict[str, Tensor]:
        """Weighted terms of a batch, by name; those of weight 0 are left out.

        Args:
            output: of the main head.
            rows: (B,) rows of the batch's images.
            projection: (B, D) → (B, E), trained with the model and dropped afterwards.
        """
        taught = self.embeddings[rows.to(self.embeddings.device)].to(output.embeddings.device)
        terms = {}
        if self.relations:
            relations = similarity_loss(output.embeddings, taught, self.temperature)
            terms["teacher_relations"] = self.relations * relations
        if self.embedding and projection is not None:
            projected = projection(output.embeddings)
            terms["teacher_embedding"] = self.embedding * embedding_loss(projected, taught)
        return terms


def add_terms(terms: dict[str, Tensor], further: dict[str, Tensor]) -> dict[str, Tensor]:
    """An objective's terms with further ones, which also count in their ``total``."""
    total = torch.stack([terms["total"], *further.values()]).sum()
    return {**terms, **further, "total": total}
