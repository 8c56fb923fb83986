"""People seen in video: detection, tracking, tracklets, the store that keeps them, search."""
