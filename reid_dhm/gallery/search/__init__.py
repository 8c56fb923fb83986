"""Queries, candidates, likely matches, and the report of a search."""
