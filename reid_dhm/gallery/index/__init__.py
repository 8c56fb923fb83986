"""Vectors by key in FAISS, following the store."""
