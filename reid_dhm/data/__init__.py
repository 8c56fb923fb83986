"""Labelled images: datasets, samplers, loading, augmentation."""
