"""Better embeddings or distances before or after a ranking: pooling, expansion, re-ranking."""
