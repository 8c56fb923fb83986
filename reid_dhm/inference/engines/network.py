"""The networks that engines run: the part that embeds, with or without normalisation of pixels.

Reading, resizing and mirroring belong to the Embedder.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse
from torch.nn import functional as F

from reid_dhm.extras import require
from reid_dhm.inference.engines.exported import INPUT, OUTPUTS
from reid_dhm.models.card import ModelCard
from reid_dhm.models.reid import ReIDModel

logger = logging.getLogger(__name__)

_OPSET = 17


class EmbeddingNetwork(nn.Module):
    """The part of a model that embeds, as a module of its own.

    Args:
        model: in eval mode; kept, not copied.
        card: which embedding is meant.
    """

    def __init__(self, model: ReIDModel, card: ModelCard) -> None:
        super().__init__()
        self.model = model
        self.ensemble = card.embedding == "ensemble"

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) float32, normalised → (N, D) embeddings, not normalised."""
        return self.model.embed_ensemble(images) if self.ensemble else self.model.embed(images)

    def folded(self) -> nn.Module:
        """A copy with batch normalisations folded into the convolutions before them."""
        try:
            return fuse(self)
        except Exception as error:  # tracing fails in any way there is
            logger.debug("batch normalisations are not folded: %s", error)
            return self


class DeployedNetwork(nn.Module):
    """From uint8 images to embeddings; it normalises the pixels itself.

    Args:
        model: in eval mode, on the CPU; kept, not copied.
        card: its normalisation and which embedding is meant.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, model: ReIDModel, card: ModelCard) -> None:
        super().__init__()
        self.embedding = EmbeddingNetwork(model, card)
        mean, std = torch.tensor(card.mean), torch.tensor(card.std)
        self.register_buffer("scale", (1 / (255 * std))[:, None, None])
        self.register_buffer("shift", (-mean / std)[:, None, None])

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(N, H, W, 3) uint8 RGB → (N, D) float32 unit rows, and the same not normalised."""
        raw = self.embedding(images.permute(0, 3, 1, 2).float() * self.scale + self.shift)
        return F.normalize(raw), raw


def example_images(card: ModelCard) -> Tensor:
    """Two black images to trace a network with; a batch of one could be traced as a constant."""
    return torch.zeros((2, *card.size, 3), dtype=torch.uint8)


def onnx_graph(model: ReIDModel, card: ModelCard) -> bytes:
    """A serialised ONNX graph of any batch size, batch normalisations folded.

    Its input is :data:`INPUT`, its outputs are :data:`OUTPUTS`; see :class:`DeployedNetwork`.

    Raises:
        UnsupportedError: the package onnx is not installed.
    """
    require("onnx", "making a graph", "onnx")
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), torch.no_grad():
        graph = Path(folder) / "graph.onnx"
        warnings.simplefilter("ignore")  # about the exporter's future and constant shapes
        torch.onnx.export(
            DeployedNetwork(model, card).eval(),
            (example_images(card),),
            graph,
            input_names=[INPUT],
            output_names=list(OUTPUTS),
            dynamic_axes={name: {0: "N"} for name in (INPUT, *OUTPUTS)},
            opset_version=_OPSET,
            dynamo=False,  # the newer exporter takes ten times as long for the same graph
        )
        return graph.read_bytes()
