"""Tracks, tracklets and their best crops."""
