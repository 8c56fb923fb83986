"""Training throughput: input pipeline and whole step."""
