"""Genomes in, training windows out."""
