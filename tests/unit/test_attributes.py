"""The last column of GFF3, GTF and GFF2, as files write it."""

from __future__ import annotations

import pytest

from hnet_dna.annotation.attributes import GROUP, attributes, value_of


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("ID=a;Parent=t,u", {"ID": ("a",), "Parent": ("t", "u")}),
        ("ID=a%3Bb;Parent=t%2C1,u,;Note=100%", {"ID": ("a;b",), "Parent": ("t,1", "u", ""), "Note": ("100%",)}),
        ("ID = a ; Name=x, y;", {"ID": ("a",), "Name": ("x, y",)}),
        ('ID="a;b";x=1', {"ID": ("a;b",), "x": ("1",)}),
        ('Note=5" end;ID=a', {"Note": ('5" end',), "ID": ("a",)}),
        ("ID=a;Lack 3'-end;Complete;", {"ID": ("a",), "Lack": ("3'-end",), "Complete": ("",)}),
        ('gene_id "g"; transcript_id "t";', {"gene_id": ("g",), "transcript_id": ("t",)}),
        (
            'gene_id "a;b"; note "x=1; y"; tag "p"; tag "q"',
            {"gene_id": ("a;b",), "note": ("x=1; y",), "tag": ("p", "q")},
        ),
        (' gene_id  "g" ;  transcript_id   "" ', {"gene_id": ("g",), "transcript_id": ("",)}),
        ('gene_id "a%3Bb"; url "http://x?y=z;w"', {"gene_id": ("a%3Bb",), "url": ("http://x?y=z;w",)}),
        ("gene_id g1; transcript_id t1;", {"gene_id": ("g1",), "transcript_id": ("t1",)}),
        (
            'gene_id "e_gw2" protein_id 335805 exonNumber 1',
            {"gene_id": ("e_gw2",), "protein_id": ("335805",), "exonNumber": ("1",)},
        ),
        ('gene_id "g" transcript_id "t"; exon 1', {"gene_id": ("g",), "transcript_id": ("t",), "exon": ("1",)}),
        ('Transcript "B0019.1" ; Confirmed EC3', {"Transcript": ("B0019.1",), "Confirmed": ("EC3",)}),
        ('Target "HBA" 11 55 ; E_value 0.0003', {"Target": ("HBA 11 55",), "E_value": ("0.0003",)}),
        ("gene_id 1 ; sequence two words", {"gene_id": ("1",), "sequence": ("two words",)}),
        ("geneA", {GROUP: ("geneA",)}),
        ("g2.t1;Parent=g2", {GROUP: ("g2.t1",), "Parent": ("g2",)}),
        (".", {}),
        ("", {}),
    ],
)
def test_each_item_shows_how_it_is_written(text: str, wanted: dict[str, tuple[str, ...]]) -> None:
    assert attributes(text) == wanted


def test_first_value_that_there_is() -> None:
    parsed = attributes('transcript_id ""; gene_id "g"; gene_id "h"')
    assert value_of(parsed, "transcript_id", "gene_id") == "g"
    assert value_of(parsed, "Parent") == ""
