"""Person re-identification with Dynamic Hierarchical Mimicking (DHM)."""

__version__ = "0.1.0"
