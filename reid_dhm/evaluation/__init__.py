"""From a dataset or arrays to figures, intervals, thresholds and the metadata of a report."""
