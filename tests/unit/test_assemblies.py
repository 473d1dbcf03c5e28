"""Manifests, and recognising a genome by its contigs."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from hnet_dna.errors import UsageError
from hnet_dna.genome.assemblies import assemblies, find_assembly, recognise
from hnet_dna.genome.bundled import bundled_genome
from hnet_dna.genome.contig_names import same_contig
from hnet_dna.genome.open import open_genome

WANTED = {"hg38", "hs1", "hg19", "mm39", "dm6", "ce11", "sacCer3", "mg1655", "tair10"}


def test_manifests_are_sound() -> None:
    assert {assembly.name for assembly in assemblies()} >= WANTED
    names: dict[str, str] = {}
    for assembly in assemblies():
        assert assembly.url.startswith("https://"), assembly.name
        assert assembly.url.endswith(assembly.file), assembly.name
        for known in (assembly.name, *assembly.other_names):
            assert names.setdefault(known.lower(), assembly.name) == assembly.name, f"{known} names two assemblies"
        for checksum in (assembly.md5, *(contig.m5 for contig in assembly.contigs.values())):
            assert checksum is None or re.fullmatch("[0-9a-f]{32}", checksum), assembly.name
        m5s = [contig.m5 for contig in assembly.contigs.values() if contig.m5]
        assert len(m5s) == len(set(m5s)), assembly.name
        aliases = [name for contig in assembly.contigs.values() for name in contig.names]
        assert len(aliases) == len(set(aliases)), assembly.name
        assert set(assembly.valid) | set(assembly.test) <= set(assembly.contigs), assembly.name
        assert not set(assembly.valid) & set(assembly.test), assembly.name


def test_found_by_any_name() -> None:
    assert find_assembly("GRCh38").name == find_assembly("HG38").name == "hg38"
    with pytest.raises(UsageError, match=r"no known genome 'hg83'\. Did you mean hg38\?"):
        find_assembly("hg83")


def test_bundled_yeast_is_recognised() -> None:
    genome = open_genome(bundled_genome().fasta)
    recognised = recognise(genome.contigs)
    assert recognised is not None
    assert recognised.assembly.name == "sacCer3"
    assert recognised.by_m5 == len(genome.contigs) == 16
    assert same_contig("IV", genome.contigs) == "chrIV"
    assert same_contig("chr4", genome.contigs) == "chrIV"
    assert same_contig("15", genome.contigs) == "chrXV"
    assert same_contig("chr40", genome.contigs) is None


def test_other_bases_under_known_names_are_not_recognised() -> None:
    """A masked or patched copy has the same names and lengths, and is not the assembly."""
    contigs = [replace(contig, md5="0" * 32) for contig in open_genome(bundled_genome().fasta).contigs]
    assert recognise(contigs) is None


def test_hg38_and_grch37_are_told_apart_under_each_others_names() -> None:
    hg38, hg19 = find_assembly("hg38"), find_assembly("hg19")
    contigs = [
        replace(
            open_genome(bundled_genome().fasta).contigs[0], name=name.removeprefix("chr"), length=k.length, md5=k.m5
        )
        for name, k in hg19.contigs.items()
        if k.m5
    ]
    recognised = recognise(contigs)
    assert recognised is not None
    assert recognised.assembly is hg19
    assert same_contig("chr1", contigs) == "1"
    assert hg38.contigs["chr1"].length != hg19.contigs["chr1"].length
