"""Labelled images: datasets, samplers, loading, augmentation, synthetic people."""
