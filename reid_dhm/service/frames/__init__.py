"""Frames of recorded video for the page."""
