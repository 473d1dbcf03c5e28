"""What is asked of a mixture of genomes: entries, and the TOML file that holds them."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, TypeAlias, cast

from hnet_dna.config.values import contig_name, number, readers, refuse_unknown, several, text
from hnet_dna.errors import ConfigError, HNetError, UsageError, did_you_mean, shown
from hnet_dna.genome.genome import Genome
from hnet_dna.genome.open import GenomeLike, find_genome

_SUFFIXES = (".gz", ".bgz", ".fa", ".fna", ".fasta", ".fas", ".2bit")


@dataclass(frozen=True)
class MixEntry:
    """One genome of a mixture.

    Attributes:
        genome: anything that `open_genome` takes.
        name: by which figures are reported; that of the file, without its endings, where empty.
        weight: share of the windows, in proportion to the other entries' weights; all entries have one or none has.
        held_out, split, regions: which bases of it train and which are held out, as `split_genome` takes them.
        chunk_lengths: a BED file whose fourth column is the bases per chunk to aim at there.
        unseen: hold out the whole genome: nothing of it trains.
        repeat_weight: factor on the loss of its soft-masked bases; that of the recipe where None.
        aliases: let these files and `held_out` call contigs by other names; see `Genome.with_aliases`.
    """

    genome: GenomeLike
    name: str = ""
    weight: Annotated[float | None, number("above 0", lambda x: x > 0)] = None
    held_out: Annotated[tuple[str, ...], several(contig_name)] = ()
    split: str = ""
    regions: str = ""
    chunk_lengths: str = ""
    unseen: bool = False
    repeat_weight: Annotated[float | None, number("of 0 or more", lambda x: x >= 0)] = None
    aliases: bool = False

    def __post_init__(self) -> None:
        for field, read in readers(MixEntry).items():
            value = getattr(self, field)
            if value is not None:
                object.__setattr__(self, field, read(field, value))
        if sum(map(bool, (self.held_out, self.split, self.unseen))) > 1:
            raise ConfigError("held_out, split, unseen: give one of them")
        if self.unseen and self.regions:
            raise ConfigError("regions: the genome is held out whole (unseen); leave one of them out")

    @property
    def asked(self) -> dict[str, Any]:
        """What is asked of the genome, as JSON, apart from the genome itself."""
        return {field: list(v) if isinstance(v := getattr(self, field), tuple) else v for field in readers(MixEntry)}


GenomesLike: TypeAlias = "GenomeLike | GenomeMix | Sequence[str | Path | Genome | MixEntry]"
"""One genome as `open_genome` takes it, or several: a list of them, a mapping of names to paths or genomes, a mix."""


@dataclass(frozen=True)
class GenomeMix:
    """Genomes to train on together.

    Attributes:
        entries: the genomes, whose names differ.
        size_power: where entries have no weights, a genome's share of the windows is in proportion to the number of
            its training bases to this power: 1 reads all bases equally often, 0 all genomes.
        plain: whether this is one genome of which nothing is asked but what the recipe says.
    """

    entries: tuple[MixEntry, ...]
    size_power: float = 1.0
    plain: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "entries", _named(tuple(self.entries)))
        object.__setattr__(self, "size_power", _SIZE_POWER("size_power", self.size_power))
        if not self.entries:
            raise UsageError("`genome`: the mixture has no genome")
        without = [entry.name for entry in self.entries if entry.weight is None and not entry.unseen]
        weighted = [entry.name for entry in self.entries if entry.weight is not None and not entry.unseen]
        if without and weighted:
            raise ConfigError(
                f"weight: {weighted[0]} has one and {without[0]} has none; give all entries one, or none of them"
            )
        if not without and not weighted:
            raise ConfigError("unseen: all genomes are held out; nothing is left to train on")

    @classmethod
    def of(cls, genomes: GenomesLike) -> GenomeMix:
        """Make a mix of whatever `pretrain` takes as `genome`."""
        if isinstance(genomes, GenomeMix):
            return genomes
        if isinstance(genomes, MixEntry):
            return cls((genomes,))
        if isinstance(genomes, Mapping) and genomes and all(map(_is_genome_or_path, genomes.values())):
            return cls(tuple(replace(_entry(genome), name=str(key)) for key, genome in genomes.items()))
        items = list(genomes) if isinstance(genomes, list | tuple) else []
        if items and all(isinstance(item, str) or _is_genome(item) for item in items):
            return cls(tuple(map(_entry, items)), plain=len(items) == 1 and not isinstance(items[0], MixEntry))
        return cls((MixEntry(cast("GenomeLike", genomes)),), plain=True)

    @classmethod
    def read(cls, path: str | Path) -> GenomeMix:
        """Read a TOML file with a table `[[genome]]` for each entry; see docs/howto/many-genomes.md.

        Paths in it are relative to its folder.

        Raises:
            ConfigError: the file, an entry or a field cannot be used; the message names them.
        """
        path = Path(path)
        try:
            value = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ConfigError(f"{path}: no such file; expected TOML with a table [[genome]] for each genome") from None
        except UnicodeDecodeError:
            raise ConfigError(f"{path} is not text; expected TOML with a table [[genome]] for each genome") from None
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{path}: not TOML: {error}") from None
        try:
            refuse_unknown("", value, ("size_power", "genome"))
            tables = value.get("genome")
            if not isinstance(tables, list) or not tables or not all(isinstance(table, Mapping) for table in tables):
                raise ConfigError(f"genome: expected a table [[genome]] for each genome, got {shown(tables)}")
            entries = tuple(_read_entry(table, number, path.parent) for number, table in enumerate(tables, start=1))
            return cls(entries, value.get("size_power", 1.0))
        except HNetError as error:
            raise ConfigError(f"{path}: {error}") from None

    def with_aliases(self) -> GenomeMix:
        """Return the mix in which all entries have `aliases`."""
        return replace(self, entries=tuple(replace(entry, aliases=True) for entry in self.entries))

    def hold_out(self, names: Iterable[str]) -> GenomeMix:
        """Return the mix with some genomes, by name, held out whole."""
        names = tuple(names)
        known = [entry.name for entry in self.entries]
        for missing in (each for each in names if each not in known):
            raise UsageError(f"`held_out_genome` {missing}: no genome of this name. {did_you_mean(missing, known)}")
        unseen = (
            replace(e, unseen=True, held_out=(), split="", regions="", weight=None) if e.name in names else e
            for e in self.entries
        )
        return replace(self, entries=tuple(unseen), plain=self.plain and not names)


_SIZE_POWER = number("from 0 to 2", lambda x: 0 <= x <= 2)


def _is_genome(value: object) -> bool:
    return isinstance(value, Path | Genome | MixEntry | Mapping) or hasattr(value, "faidx")


def _is_genome_or_path(value: object) -> bool:
    """Tell a genome, or its path as text, from a sequence, which has neither dots nor slashes."""
    if isinstance(value, str):
        return any(mark in value for mark in "./\\") and "\n" not in value
    return _is_genome(value)


def _entry(value: Any) -> MixEntry:
    return value if isinstance(value, MixEntry) else MixEntry(value)


def _read_entry(table: Mapping[str, Any], number: int, folder: Path) -> MixEntry:
    where = f"genome {number}"
    try:
        refuse_unknown("", table, ("genome", *readers(MixEntry)))
        if "genome" not in table:
            raise ConfigError("genome: is missing; expected a path or the name of a known genome")
        if isinstance(table.get("split"), float):
            table = {**table, "split": repr(table["split"])}
        source = text("genome", table["genome"])
        fields = {field: value for field, value in table.items() if field != "genome"}
        for field in ("split", "regions", "chunk_lengths"):
            if isinstance(fields.get(field), str) and (folder / fields[field]).is_file():
                fields[field] = str((folder / fields[field]).resolve())  # a run may go on from elsewhere
        here = folder / source
        entry = MixEntry(str(here) if source and here.exists() and not here.is_dir() else source, **fields)
        try:
            find_genome(str(entry.genome))
        except HNetError as error:
            raise ConfigError(f"genome: {error}") from None
        return entry
    except HNetError as error:
        named = table.get("name") or table.get("genome")
        raise ConfigError(f"{where}{f' ({named})' if isinstance(named, str) else ''}: {error}") from None


def _named(entries: tuple[MixEntry, ...]) -> tuple[MixEntry, ...]:
    """Name the entries that have no name, and refuse two of one name."""
    given = [entry.name for entry in entries if entry.name]
    for each in given:
        if given.count(each) > 1:
            raise ConfigError(f"name: two genomes are called {each}; names must differ")
    taken, named = set(given), []
    for entry in entries:
        if not entry.name:
            base = chosen = default_name(entry.genome)
            number = 1
            while chosen in taken:
                number += 1
                chosen = f"{base}-{number}"
            entry = replace(entry, name=chosen)
            taken.add(chosen)
        named.append(entry)
    return tuple(named)


def mix_of(genomes: GenomesLike | None, held_out: Iterable[str] = ()) -> GenomeMix | None:
    """Return the mix that is asked for, some genomes of it held out whole; None where no genome is given."""
    if genomes is None:
        if names := ", ".join(held_out):
            raise UsageError(f"`held_out_genome` {names}: is of the genomes that are given as `genome`, and none is")
        return None
    return GenomeMix.of(genomes).hold_out(held_out)


def default_name(genome: GenomeLike) -> str:
    """Return the name of a genome that has been given none: that of its file without endings."""
    if hasattr(genome, "faidx"):
        genome = Path(cast(Any, genome).filename)
    if not isinstance(genome, str | Path | Genome):
        return "memory"
    stem = Path(genome.source if isinstance(genome, Genome) else genome).name
    while (suffix := Path(stem).suffix.lower()) in _SUFFIXES and len(stem) > len(suffix):
        stem = stem[: -len(suffix)]
    return "stdin" if stem == "-" else " ".join(stem.split()) or "genome"
