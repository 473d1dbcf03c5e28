"""Runs the application by `python -m hnet_dna_cli`."""

from .main import app

app()
