"""The last column of GFF3, GTF and GFF2, read by one rule: each item shows by itself how it is written.

`key=value` is GFF3's: values end at a semicolon and are percent-encoded. `key "value"` or `key value` is GTF's and
GFF2's: quoted values may hold semicolons, and some files separate items by blanks. A word without a value is a flag,
or where it comes first, as in GFF1 and AUGUSTUS, the name of what the line belongs to (`GROUP`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from urllib.parse import unquote

GROUP = "group"  # the name of a first word that has no value
# An item up to its semicolon: GFF3's key and value, or anything with its quoted parts whole.
_ITEM = re.compile(
    r'\s*(?:(?P<key>[^\s=;"]+)\s*=\s*(?:"(?P<quoted>[^"]*)"\s*(?=;|$)|(?P<value>[^;]*))|(?P<words>(?:"[^"]*"|[^;])*))'
    r"(?:;|$)"
)
_PLAIN = re.compile(r'([^\s=;"]+)\s+"([^"]*)"\s*(?:;\s*|$)')  # what nearly every item of a GTF is
_WORD = re.compile(r'"([^"]*)"|([^\s"]+)')
_KEY = re.compile(r"[A-Za-z_][\w.-]*")


@lru_cache(1 << 15)  # the lines of a small genome, each of which several statistics ask for
def attributes(text: str) -> dict[str, tuple[str, ...]]:
    """Return the values of each key, in the order of the column; several where a key occurs again, or of Parent.

    A flag has one empty value.
    """
    text = text.strip()
    found: dict[str, list[str]] = {}
    if '"' in text and not _PLAIN.sub("", text):
        for key, value in _PLAIN.findall(text):
            found.setdefault(key, []).append(value)
        return {key: tuple(values) for key, values in found.items()}
    items = [(key, value) for key, value in _items(text) if key or value not in ("", ".")]
    for number, (key, value) in enumerate(items):
        if key:
            # The format separates values by commas, but few files encode a comma that is part of one: of Parent only.
            values = value.split(",") if key == "Parent" else [value]
            found.setdefault(key, []).extend(map(unquote, values) if "%" in value else values)
        else:
            for name, one in _pairs(value, alone=len(items) == 1, first=number == 0):
                found.setdefault(name, []).append(one)
    return {key: tuple(values) for key, values in found.items()}


def value_of(told: dict[str, tuple[str, ...]], *keys: str) -> str:
    """Return the first value of the first of these keys that has one, else the empty text."""
    return next((value for key in keys for value in told.get(key, ()) if value), "")


def _items(text: str) -> Iterator[tuple[str, str]]:
    """Yield key and value of items of GFF3, and others as they stand, without a key."""
    if '"' in text:
        for found in _ITEM.finditer(text):
            if found["key"] is None:
                yield "", found["words"].strip()
            else:
                yield found["key"], (found["value"] if found["quoted"] is None else found["quoted"]).strip()
        return
    for item in text.split(";"):
        key, equals, value = item.partition("=")
        key = key.strip()
        if equals and key and " " not in key:
            yield key, value.strip()
        else:
            yield "", item.strip()


def _pairs(item: str, *, alone: bool, first: bool) -> list[tuple[str, str]]:
    """Read one item of GTF or GFF2."""
    words = list(_WORD.finditer(item))
    texts = [word[2] if word[1] is None else word[1] for word in words]
    if len(texts) == 1:
        return [(GROUP, texts[0])] if first else [(texts[0], "")]
    # Where only blanks separate items, keys and values take turns. `Target "x" 11 55` is one key with three values, and
    # `note two words` among other items one with two.
    turns = len(words) % 2 == 0 and all(word[1] is None and _KEY.fullmatch(word[2]) for word in words[::2])
    if turns and (alone or words[1][1] is not None):
        return list(zip(texts[::2], texts[1::2], strict=True))
    return [(texts[0], " ".join(texts[1:]))]
