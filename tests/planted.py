"""Genes planted by hand, and what is true of them."""

from __future__ import annotations

from hnet_dna.annotation.genes import Coding, Site
from hnet_dna.sequence.interval import Interval

# Gene f on +: exons [100, 140), [200, 250), codons over 90 bases, the intron inside a codon (40 = 13 x 3 + 1).
# Gene r on -: exons [420, 470), [500, 540); read from 540 down, the intron again inside a codon.
GFF = (
    "c\tx\tgene\t101\t250\t.\t+\t.\tID=f\n"
    "c\tx\tmRNA\t101\t250\t.\t+\t.\tID=ft;Parent=f\n"
    "c\tx\texon\t101\t140\t.\t+\t.\tParent=ft\n"
    "c\tx\texon\t201\t250\t.\t+\t.\tParent=ft\n"
    "c\tx\tCDS\t101\t140\t.\t+\t0\tID=fc;Parent=ft\n"
    "c\tx\tCDS\t201\t250\t.\t+\t2\tID=fc;Parent=ft\n"
    "c\tx\tgene\t421\t540\t.\t-\t.\tID=r\n"
    "c\tx\tmRNA\t421\t540\t.\t-\t.\tID=rt;Parent=r\n"
    "c\tx\texon\t421\t470\t.\t-\t.\tParent=rt\n"
    "c\tx\texon\t501\t540\t.\t-\t.\tParent=rt\n"
    "c\tx\tCDS\t421\t470\t.\t-\t2\tID=rc;Parent=rt\n"
    "c\tx\tCDS\t501\t540\t.\t-\t0\tID=rc;Parent=rt\n"
)


CODINGS = [
    Coding((Interval("c", 100, 140), Interval("c", 200, 250)), "+"),
    Coding((Interval("c", 500, 540), Interval("c", 420, 470)), "-"),
]


SITES = {
    "start codon": [Site("c", 100, "+"), Site("c", 539, "-")],
    "stop codon": [Site("c", 247, "+"), Site("c", 422, "-")],
    "TSS": [Site("c", 100, "+"), Site("c", 539, "-")],
    "donor": [Site("c", 140, "+"), Site("c", 499, "-")],
    "acceptor": [Site("c", 200, "+"), Site("c", 469, "-")],
}
