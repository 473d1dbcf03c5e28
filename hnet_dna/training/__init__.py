"""Losses, optimiser, the loop, and the run folder."""
