"""Figures: of the tables of a report, and of one locus. They need matplotlib."""
