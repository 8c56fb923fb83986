"""Retrieval over arrays: FAISS index, exact CMC, mAP and mINP, re-ranking, query expansion.

Nothing here knows of images or models.
"""
