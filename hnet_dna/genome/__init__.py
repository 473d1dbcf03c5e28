"""Genomes: files, stores, names of contigs, known assemblies."""
