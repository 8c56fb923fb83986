"""Exported graphs: writing them, quantising them, and checking them against PyTorch."""
