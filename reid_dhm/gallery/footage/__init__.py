"""Sources of frames, seeking in them, and annotated video."""
