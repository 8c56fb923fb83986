"""Speed, memory and precision of embedding images."""
