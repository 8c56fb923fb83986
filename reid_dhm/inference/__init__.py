"""From checkpoints and images to embeddings, whatever engine runs the network."""

from reid_dhm.inference.embedder import Embedder

__all__ = ["Embedder"]
