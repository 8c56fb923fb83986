"""From a dataset or arrays to figures, intervals, thresholds and report metadata."""
