"""Exact ranks: of the whole gallery, of one drawn image per person, of given distances."""
