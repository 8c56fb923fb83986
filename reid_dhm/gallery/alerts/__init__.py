"""Telling others that a watched person was seen."""
