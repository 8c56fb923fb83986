"""Who may be whom: similarity, movement, and clusters over a sparse graph of tracklets."""
