"""Our figure, the peer's, and the ratio, measured in one run."""
