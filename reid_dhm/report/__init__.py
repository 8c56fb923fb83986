"""Ranking reports: figures, lists and pages that open in a browser from disk.

Reads evaluation runs, computes no metric. Models are not known here: the caller passes activation
maps.
"""
