"""The command line: one file per command, each parsing, calling `hnet_dna`, and printing."""
