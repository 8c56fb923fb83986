"""What every request passes: security, concurrency limits, metrics."""
