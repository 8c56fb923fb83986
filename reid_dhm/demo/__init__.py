"""The demonstration that ``reid-dhm demo`` runs, on synthetic people."""
