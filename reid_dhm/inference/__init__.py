"""From checkpoints and images to embeddings, whatever engine runs the network."""
