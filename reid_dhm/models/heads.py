"""From a feature map to an embedding and logits: pooling, neck, classifier."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from reid_dhm.errors import InputError


class ReIDOutput(NamedTuple):
    """Output of one head for a batch.

    Attributes:
        features: (B, D) before the neck; the triplet loss works on these.
        embeddings: (B, D) after the neck; compared in tests.
        logits: (B, C) identity scores.
    """

    features: Tensor
    embeddings: Tensor
    logits: Tensor


class GeM(nn.Module):
    """Generalised-mean pooling with a learnt exponent (Radenović et al. 2018): (B,C,h,w) → (B,C).

    ``p = 1`` is average pooling, ``p → ∞`` max pooling; activations below ``eps`` count as ``eps``.
    """

    def __init__(self, p: float = 3.0, eps: float = 1e-6) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.tensor(p))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Pool (B, C, h, w) to (B, C)."""
        x = x.float().clamp(min=self.eps)  # powers overflow in half precision
        return x.pow(self.p).mean(dim=(2, 3)).pow(1 / self.p)


class AveragePool(nn.Module):
    """Global average pooling: (B, C, h, w) → (B, C)."""

    def forward(self, x: Tensor) -> Tensor:
        """Pool (B, C, h, w) to (B, C)."""
        return F.adaptive_avg_pool2d(x, 1).flatten(1)


POOLINGS = {"avg": AveragePool, "gem": GeM}
NECKS = ("bnneck", "none")


def bnneck(channels: int) -> nn.BatchNorm1d:
    """Batch normalisation with its bias frozen at zero (Luo et al. 2019, section 3.6)."""
    neck = nn.BatchNorm1d(channels)
    neck.bias.requires_grad_(False)
    return neck


class Head(nn.Module):
    """Pooling, then the native embedding layer if given, then the neck, then the classifier.

    Args:
        channels: channels of the feature map.
        num_classes: identities to tell apart.
        pooling: ``avg`` or ``gem``.
        neck: ``bnneck`` (bias-free classifier behind it) or ``none`` (classifier with bias; the
            embedding is the feature itself).
        embedding: the backbone's native embedding layer, (B, channels) → (B, D).
    """

    def __init__(
        self,
        channels: int,
        num_classes: int,
        pooling: str = "avg",
        neck: str = "bnneck",
        embedding: nn.Module | None = None,
    ) -> None:
        super().__init__()
        if pooling not in POOLINGS:
            raise InputError(f"model.pooling is {pooling!r}: use one of {', '.join(POOLINGS)}")
        if neck not in NECKS:
            raise InputError(f"model.neck is {neck!r}: use one of {', '.join(NECKS)}")
        self.pool = POOLINGS[pooling]()
        self.embedding = embedding if embedding is not None else nn.Identity()
        self.dim = _output_dim(embedding, channels)
        self.neck = bnneck(self.dim) if neck == "bnneck" else nn.Identity()
        self.classifier = nn.Linear(self.dim, num_classes, bias=neck == "none")
        nn.init.normal_(self.classifier.weight, std=0.001 if neck == "bnneck" else 0.01)
        if neck == "none":
            nn.init.zeros_(self.classifier.bias)

    def embed(self, feature_map: Tensor) -> Tensor:
        """(B, C, h, w) → (B, D) embeddings after the neck."""
        return self.neck(self.embedding(self.pool(feature_map)))

    def forward(self, feature_map: Tensor) -> ReIDOutput:
        """(B, C, h, w) → features, embeddings and logits."""
        features = self.embedding(self.pool(feature_map))
        embeddings = self.neck(features)
        return ReIDOutput(features, embeddings, self.classifier(embeddings))


def _output_dim(embedding: nn.Module | None, channels: int) -> int:
    if embedding is None:
        return channels
    linear = [m for m in embedding.modules() if isinstance(m, nn.Linear)]
    return linear[-1].out_features
