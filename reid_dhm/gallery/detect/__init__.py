"""Detectors of people behind one protocol, and the factory that makes them by name."""
