"""Vectors for sequences and chunks, from inside the network."""
