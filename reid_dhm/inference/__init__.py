"""From checkpoints and pictures to embeddings, whatever engine runs the network."""
