"""From checkpoints and pictures to embeddings, whatever engine runs the network."""

from reid_dhm.inference.embedder import Embedder

__all__ = ["Embedder"]
