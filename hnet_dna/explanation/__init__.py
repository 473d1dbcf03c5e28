"""Where learned boundaries lie: beside genes, codons, repeats and words, and how often by chance."""
