"""Backbones as stages, side branches, heads, and the re-ID model made of them."""
