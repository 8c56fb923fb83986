"""The training loop, its schedule, checkpoints, logs and diagnostics."""
