"""Grids of trainings: planned, estimated, run on several devices, and tabulated."""
