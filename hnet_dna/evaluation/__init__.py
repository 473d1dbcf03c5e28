"""Bits per base: of a model, and of the simple models it has to beat."""
