"""Time of ranking, re-ranking and gallery search."""
