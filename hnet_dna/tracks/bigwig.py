"""The bigWig format: values by base with zoom levels, written in one pass in little memory.

The layout is that of the supplement of Kent et al., Bioinformatics 26:2204 (2010). Neither library that writes bigWig
serves for whole genomes: pyBigWig holds all zoom levels in memory, three bytes for each base, and ends its process
where the disk is full; pybigtools leaves out contigs that have no value.
"""

from __future__ import annotations

import shutil
import struct
import zlib
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from hnet_dna.errors import UsageError
from hnet_dna.files import scratch_file, write_beside

Block = tuple[int, NDArray[np.float32], int]  # start, values, bases of each value
Records = NDArray[np.void]

_MAGIC, _CONTIGS_MAGIC, _INDEX_MAGIC = 0x888FFC26, 0x78CA8C91, 0x2468ACE0
_HEADER = struct.Struct("<IHHQQQHHQQIQ")
_ZOOM = struct.Struct("<IIQQ")
_TOTAL = struct.Struct("<Qdddd")
_SECTION = struct.Struct("<IIIIIBBH")
_VARIABLE, _FIXED = 2, 3  # kinds of section: places and values, or values of consecutive places
_ITEMS = 4096  # values of a section; readers unpack sections as a whole
_RECORDS = 512  # stretches in a block of a zoom level
_CHILDREN = 256  # of a node
_ZOOMS = [32 * 4**level for level in range(10)]  # values of a stretch; the format has room for ten levels
_LEVEL = 1  # of zlib: float32 values hardly shrink further, and 6 takes twice the time

_STRETCH = [("contig", "<u4"), ("start", "<u4"), ("end", "<u4"), ("bases", "<u4")]
_RECORD = np.dtype([*_STRETCH, ("min", "<f4"), ("max", "<f4"), ("sum", "<f4"), ("squares", "<f4")])
_EXACT = np.dtype([*_STRETCH, ("min", "<f4"), ("max", "<f4"), ("sum", "<f8"), ("squares", "<f8")])
_EXTENT = [("contig", "<u4"), ("start", "<u4"), ("last_contig", "<u4"), ("last_end", "<u4")]
_LEAF = np.dtype([*_EXTENT, ("offset", "<u8"), ("size", "<u8")])
_INNER = np.dtype([*_EXTENT, ("child", "<u8")])


def write_bigwig(path: Path, lengths: dict[str, int], values: Callable[[str], Iterable[Block]]) -> None:
    """Write a bigWig with exact contig lengths and zoom levels, contigs in lexicographic order as UCSC wants.

    Memory grows by 8 bytes for each 1,000 values.

    Args:
        path: put in its place once it is complete.
        lengths: of the contigs; those without values are in the file, too.
        values: of one contig, as blocks that rise: start, values (NaN where there is none), bases per value.

    Raises:
        OSError: there is no room for it.
    """
    contigs = sorted(lengths)
    with write_beside(path) as temporary, temporary.open("wb") as file, ExitStack() as scratch:
        contigs_at = _HEADER.size + len(_ZOOMS) * _ZOOM.size + _TOTAL.size
        file.write(bytes(contigs_at))
        file.write(_contig_tree(contigs, lengths, contigs_at))
        data_at = file.tell()
        file.write(bytes(8))
        sections = _Sections(_Blocks(file), max(lengths.values()), scratch)
        for number, name in enumerate(contigs):
            for block in values(name):
                sections.add(number, *block)
            sections.end_contig()
        index_at = sections.blocks.write_index(file)
        zooms = [(zoom.reduction, *zoom.blocks.copy_to(file)) for zoom in sections.zooms]
        file.write(struct.pack("<I", _MAGIC))
        file.seek(data_at)
        file.write(struct.pack("<Q", len(sections.blocks)))
        file.seek(0)
        largest = max(blocks.largest for blocks in (sections.blocks, *(zoom.blocks for zoom in sections.zooms)))
        total_at = contigs_at - _TOTAL.size
        file.write(_HEADER.pack(_MAGIC, 4, len(zooms), contigs_at, data_at, index_at, 0, 0, 0, total_at, largest, 0))
        for reduction, records_at, zoom_index_at in zooms:
            file.write(_ZOOM.pack(reduction, 0, records_at, zoom_index_at))
        file.seek(total_at)
        file.write(_TOTAL.pack(*sections.total))


class _Blocks:
    """Compressed blocks, written to a file one behind the other, and where each lies.

    Attributes:
        largest: bytes of the largest block before compression.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.largest = 0
        self._file = file
        self._leaves = bytearray()

    def __len__(self) -> int:
        return len(self._leaves) // _LEAF.itemsize

    def add(self, contig: int, start: int, end: int, data: bytes) -> None:
        packed = zlib.compress(data, _LEVEL)
        self._leaves += np.array((contig, start, contig, end, self._file.tell(), len(packed)), dtype=_LEAF).tobytes()
        self._file.write(packed)
        self.largest = max(self.largest, len(data))

    def write_index(self, file: BinaryIO, shift: int = 0) -> int:
        """Write the index of the blocks, which lie `shift` bytes further in this file; return its place."""
        at, leaves = file.tell(), np.frombuffer(self._leaves, dtype=_LEAF)
        leaves["offset"] += np.uint64(shift)
        extent = (0, 0, 0, 0)
        if len(leaves):
            extent = (*leaves[0].item()[:2], *leaves[-1].item()[2:4])
        header = struct.pack("<IIQIIIIQII", _INDEX_MAGIC, _CHILDREN, len(leaves), *extent, at, 1, 0)
        file.write(header + _tree(leaves, _INNER, at + len(header)))
        return at

    def copy_to(self, file: BinaryIO) -> tuple[int, int]:
        """Write the blocks of a zoom level and their index to another file; return the places of both."""
        at = file.tell()
        file.write(struct.pack("<I", len(self)))
        shift = file.tell()
        self._file.seek(0)
        shutil.copyfileobj(self._file, file)
        return at, self.write_index(file, shift)


class _Zoom:
    """A level of zoom: statistics of stretches of `reduction` bases.

    Args:
        reduction: bases of a stretch.
        blocks: where its records go.
        coarser: the next level, which is made from this one.
    """

    def __init__(self, reduction: int, blocks: _Blocks, coarser: _Zoom | None) -> None:
        self.reduction, self.blocks = reduction, blocks
        self._coarser = coarser
        self._open = self._waiting = np.empty(0, dtype=_EXACT)  # the last stretch, which may go on; complete ones

    def add(self, records: Records) -> None:
        """Add statistics of shorter stretches of one contig, in order."""
        merged = _merge(np.concatenate((self._open, records)), self.reduction)
        self._open = merged[-1:]
        self._put(merged[:-1], _RECORDS)

    def end_contig(self) -> None:
        self._put(self._open, 1)
        self._open = self._open[:0]
        if self._coarser is not None:
            self._coarser.end_contig()

    def _put(self, complete: Records, least: int) -> None:
        if self._coarser is not None and len(complete):
            self._coarser.add(complete)
        waiting = np.concatenate((self._waiting, complete))
        while len(waiting) >= least:
            block, waiting = waiting[:_RECORDS], waiting[_RECORDS:]
            first, last = block[0], block[-1]
            self.blocks.add(
                int(first["contig"]), int(first["start"]), int(last["end"]), block.astype(_RECORD).tobytes()
            )
        self._waiting = waiting


class _Sections:
    """The values themselves, in sections, and the zoom levels that are made from them.

    Attributes:
        zooms: finest first; none before there is a value.
        total: bases that have a value, and minimum, maximum, sum and sum of squares over them.
    """

    def __init__(self, blocks: _Blocks, longest: int, scratch: ExitStack) -> None:
        self.blocks, self.zooms = blocks, list[_Zoom]()
        self.total = (0, 0.0, 0.0, 0.0, 0.0)
        self._longest, self._scratch = longest, scratch
        self._contig = self._span = 0
        self._places, self._values = np.empty(0, dtype=np.uint32), np.empty(0, dtype="<f4")

    def add(self, contig: int, start: int, values: NDArray[np.float32], span: int) -> None:
        """Add a block of values; those that are NaN are left out."""
        known = np.flatnonzero(~np.isnan(values))
        if not len(known):
            return
        if span != self._span:
            self._put(1)
        self._contig, self._span = contig, span
        places, kept = (start + span * known).astype(np.uint32), values[known].astype("<f4")
        self._summarise(places, kept)
        self._places, self._values = np.concatenate((self._places, places)), np.concatenate((self._values, kept))
        self._put(_ITEMS)

    def end_contig(self) -> None:
        self._put(1)
        if self.zooms:
            self.zooms[0].end_contig()

    def _put(self, least: int) -> None:
        """Write what waits, in sections of `_ITEMS` values; the last may be shorter, but not than `least`."""
        places, values, span = self._places, self._values, self._span
        while len(places) >= least:
            where, data = places[:_ITEMS], values[:_ITEMS]
            places, values = places[_ITEMS:], values[_ITEMS:]
            count, start, end = len(where), int(where[0]), int(where[-1]) + span
            fixed = end - start == count * span
            kind, step = (_FIXED, span) if fixed else (_VARIABLE, 0)
            items = data if fixed else np.rec.fromarrays([where, data])
            header = _SECTION.pack(self._contig, start, end, step, span, kind, 0, count)
            self.blocks.add(self._contig, start, end, header + items.tobytes())
        self._places, self._values = places, values

    def _summarise(self, places: NDArray[np.uint32], values: NDArray[np.float32]) -> None:
        records = np.empty(len(places), dtype=_EXACT)
        records["contig"], records["start"], records["end"] = self._contig, places, places + np.uint32(self._span)
        records["bases"], records["min"], records["max"] = self._span, values, values
        exact = values.astype(np.float64)
        records["sum"], records["squares"] = exact * self._span, exact * exact * self._span
        if not self.zooms:
            self._open_zooms()
        if self.zooms:
            self.zooms[0].add(records)
        bases, least, most, total, squares = self.total
        if not bases:
            least = most = float(values[0])
        self.total = (
            bases + len(values) * self._span,
            min(least, float(values.min())),
            max(most, float(values.max())),
            total + float(records["sum"].sum()),
            squares + float(records["squares"].sum()),
        )

    def _open_zooms(self) -> None:
        coarser = None
        for reduction in reversed([self._span * zoom for zoom in _ZOOMS]):
            if reduction < self._longest:
                blocks = _Blocks(self._scratch.enter_context(scratch_file()))
                coarser = _Zoom(reduction, blocks, coarser)
                self.zooms.insert(0, coarser)


def _merge(records: Records, reduction: int) -> Records:
    """Return the statistics of the stretches of `reduction` bases in which the records begin."""
    stretch = records["start"] // np.uint32(reduction)
    first = np.concatenate(([0], np.flatnonzero(stretch[1:] != stretch[:-1]) + 1))
    last = np.append(first[1:], len(records)) - 1
    merged = records[first]
    merged["end"] = records["end"][last]
    for name, of in (("bases", np.add), ("min", np.minimum), ("max", np.maximum), ("sum", np.add), ("squares", np.add)):
        merged[name] = of.reduceat(records[name], first)
    return merged


def _contig_tree(contigs: list[str], lengths: dict[str, int], at: int) -> bytes:
    names = [name.encode() for name in contigs]
    width = max(map(len, names))
    leaf = np.dtype([("key", f"S{width}"), ("number", "<u4"), ("length", "<u4")])
    items = np.array(list(zip(names, range(len(names)), (lengths[name] for name in contigs), strict=True)), dtype=leaf)
    header = struct.pack("<IIIIQQ", _CONTIGS_MAGIC, _CHILDREN, width, 8, len(names), 0)
    return header + _tree(items, np.dtype([("key", f"S{width}"), ("child", "<u8")]), at + len(header))


def _tree(items: Records, inner: np.dtype[np.void], at: int) -> bytes:
    """Return the nodes of a tree over sorted items, the root first, as they will lie at a place of the file.

    Args:
        items: of the leaves.
        inner: an item of the other nodes: fields of the first item below, `last_` of the last, and `child`, its place.
        at: place of the root.
    """
    levels = [items]
    while len(levels[0]) > _CHILDREN:
        below = levels[0]
        first = np.arange(0, len(below), _CHILDREN)
        last = np.minimum(first + _CHILDREN, len(below)) - 1
        level = np.empty(len(first), dtype=inner)
        for name in set(inner.names or ()) - {"child"}:
            level[name] = below[name][last if name.startswith("last_") else first]
        levels.insert(0, level)
    nodes: list[bytes] = []
    for depth, level in enumerate(levels):
        count = -(-len(level) // _CHILDREN) or 1
        at += 4 * count + level.nbytes
        is_leaf = depth == len(levels) - 1
        if not is_leaf:
            level["child"] = at + np.arange(len(level)) * (4 + _CHILDREN * levels[depth + 1].itemsize)
        for start in range(0, count * _CHILDREN, _CHILDREN):
            node = level[start : start + _CHILDREN]
            nodes.append(struct.pack("<BBH", is_leaf, 0, len(node)) + node.tobytes())
    return b"".join(nodes)


def pybigwig() -> Any:
    """Return the module that reads bigWig and bigBed, which Windows lacks."""
    try:
        import pyBigWig
    except ModuleNotFoundError:
        raise UsageError("reading bigWig and bigBed needs pyBigWig: pip install pyBigWig") from None
    return pyBigWig
