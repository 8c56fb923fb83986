"""Decoding of video, and what is lost or damaged in it."""
