"""Match probabilities and thresholds from a gallery itself, without labels."""
