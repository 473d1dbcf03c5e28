"""Features of a genome: GFF3, GTF, GenBank, BED."""
