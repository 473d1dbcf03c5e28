"""Reads the attributes of GFF3, GTF and GFF2 (column 9) by one rule, since each item shows how it is written.

GFF3 writes `key=value`; values end at a semicolon and are percent-encoded. GTF and GFF2 write `key "value"` or
`key value`; quoted values may contain semicolons, and some files separate items by blanks. A word without a value is a
flag. If it comes first, as in GFF1 and AUGUSTUS, it names what the line belongs to (`GROUP`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import TypeAlias
from urllib.parse import unquote

Values: TypeAlias = Mapping[str, tuple[str, ...]]
GROUP = "group"  # the key under which a first word without a value is returned
# An item up to its semicolon: key and value of GFF3, or anything else, with quoted parts kept whole.
_ITEM = re.compile(
    r'\s*(?:(?P<key>[^\s=;"]+)\s*=\s*(?:"(?P<quoted>[^"]*)"\s*(?=;|$)|(?P<value>[^;]*))|(?P<words>(?:"[^"]*"|[^;])*))'
    r"(?:;|$)"
)
_PLAIN = re.compile(r'([^\s=;"]+)\s+"([^"]*)"\s*(?:;\s*|$)')  # as nearly every item of a GTF is written
_WORD = re.compile(r'"([^"]*)"|([^\s"]+)')
_KEY = re.compile(r"[A-Za-z_][\w.-]*")


@lru_cache(1 << 15)  # the lines of a small genome, each of which several statistics ask for
def attributes(text: str) -> Values:
    """Return the values of each key, in the order of the column.

    A key that is repeated has several values, as has Parent with commas. A flag has one empty value.
    """
    text = text.strip()
    values_of: dict[str, list[str]] = {}
    if '"' in text and not _PLAIN.sub("", text):
        for key, value in _PLAIN.findall(text):
            values_of.setdefault(key, []).append(value)
        return {key: tuple(values) for key, values in values_of.items()}
    items = [(key, value) for key, value in _items(text) if key or value not in ("", ".")]
    for number, (key, value) in enumerate(items):
        if key:
            # GFF3 separates values by commas, but few files encode commas within a value: only Parent is split.
            values = value.split(",") if key == "Parent" else [value]
            values_of.setdefault(key, []).extend(map(unquote, values) if "%" in value else values)
        else:
            for name, one in _pairs(value, alone=len(items) == 1, first=number == 0):
                values_of.setdefault(name, []).append(one)
    return {key: tuple(values) for key, values in values_of.items()}


def value_of(values: Values, *keys: str) -> str:
    """Return the first value of the first of these keys that has one, else an empty string."""
    return next((value for key in keys for value in values.get(key, ()) if value), "")


def _items(text: str) -> Iterator[tuple[str, str]]:
    """Yield key and value of GFF3 items; other items have an empty key and are yielded as they stand."""
    if '"' in text:
        for match in _ITEM.finditer(text):
            if match["key"] is None:
                yield "", match["words"].strip()
            else:
                yield match["key"], (match["value"] if match["quoted"] is None else match["quoted"]).strip()
        return
    for item in text.split(";"):
        key, equals, value = item.partition("=")
        key = key.strip()
        if equals and key and " " not in key:
            yield key, value.strip()
        else:
            yield "", item.strip()


def _pairs(item: str, *, alone: bool, first: bool) -> list[tuple[str, str]]:
    """Return keys and values of one item of GTF or GFF2; `alone` and `first` say where it stands in the column."""
    words = list(_WORD.finditer(item))
    texts = [word[2] if word[1] is None else word[1] for word in words]
    if len(texts) == 1:
        return [(GROUP, texts[0])] if first else [(texts[0], "")]
    # Where only blanks separate items, keys and values alternate. `Target "x" 11 55` is one key with three values, and
    # `note two words` among other items is one key with two.
    turns = len(words) % 2 == 0 and all(word[1] is None and _KEY.fullmatch(word[2]) for word in words[::2])
    if turns and (alone or words[1][1] is not None):
        return list(zip(texts[::2], texts[1::2], strict=True))
    return [(texts[0], " ".join(texts[1:]))]
