"""Labelled pictures: datasets, samplers, loading, augmentation, synthetic people."""
