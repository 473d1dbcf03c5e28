"""Readers of single values of a configuration, whether from JSON, TOML or Python.

A reader takes the dotted path of a field and what was given for it; it returns the value as its type, or raises a
`ConfigError` that begins with the path. NaN and infinity are refused everywhere. A dataclass says by its annotations
how its fields are read: `clip: Annotated[float, number("above 0", lambda x: x > 0)] = 1.0`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from numbers import Integral, Real
from typing import Annotated, Any, Literal, TypeAlias, get_args, get_origin, get_type_hints

from hnet_dna.errors import ConfigError, did_you_mean, shown

Reader: TypeAlias = "Callable[[str, Any], Any]"
LARGEST = 2**31 - 1  # of counts, where nothing smaller is said


def integer(low: int, high: int = LARGEST) -> Reader:
    """Read an integer from `low` to `high`."""

    def read(path: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, Integral):
            raise ConfigError(f"{path}: expected an integer, got {shown(value)}")
        whole = int(value)
        if whole < low:
            raise ConfigError(f"{path}: expected {low} or more, got {shown(value)}")
        if whole > high:
            raise ConfigError(f"{path}: expected {high:,} or less, got {shown(value)}")
        return whole

    return read


def number(rule: str = "", fits: Callable[[float], bool] = lambda value: True) -> Reader:
    """Read a finite number that fits a rule, described in words such as `above 0`."""

    def read(path: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, Real):
            raise ConfigError(f"{path}: expected a number, got {shown(value)}")
        try:
            real = float(value)
        except OverflowError:
            real = math.inf
        if not math.isfinite(real):
            raise ConfigError(f"{path}: expected a finite number, got {shown(value)}")
        if not fits(real):
            raise ConfigError(f"{path}: expected a number {rule}, got {shown(value)}")
        return real

    return read


def boolean(path: str, value: Any) -> bool:
    """Read true or false."""
    if not isinstance(value, bool):
        raise ConfigError(f"{path}: expected true or false, got {shown(value)}")
    return value


def text(path: str, value: Any) -> str:
    """Read a text."""
    if not isinstance(value, str):
        raise ConfigError(f"{path}: expected text, got {shown(value)}")
    return value


def contig_name(path: str, value: Any) -> str:
    """Read the name of a contig, which may be a whole number written as such: 1."""
    return text(path, str(value) if type(value) is int and abs(value) <= LARGEST else value)


def choice(choices: Iterable[str]) -> Reader:
    """Read one of some words."""
    known = tuple(choices)

    def read(path: str, value: Any) -> str:
        if text(path, value) not in known:
            raise ConfigError(f"{path}: {did_you_mean(value, known)}")
        return str(value)

    return read


def several(item: Reader, least: int = 0) -> Reader:
    """Read a list of at least `least` items; a single value is a list of one."""

    def read(path: str, value: Any) -> tuple[Any, ...]:
        if not isinstance(value, (list, tuple)):
            return (item(path, value),)
        if len(value) < least:
            raise ConfigError(f"{path}: expected {'one value' if least == 1 else f'{least} values'} or more, got none")
        return tuple(item(f"{path}[{index}]", part) for index, part in enumerate(value))

    return read


def row(what: str, *items: Reader) -> Reader:
    """Read a list of as many items as there are readers, described in words such as `a pair of share and bases`."""

    def read(path: str, value: Any) -> tuple[Any, ...]:
        if not isinstance(value, (list, tuple)) or len(value) != len(items):
            raise ConfigError(f"{path}: expected {what}, got {shown(value)}")
        return tuple(
            item(f"{path}[{index}]", part) for index, (item, part) in enumerate(zip(items, value, strict=True))
        )

    return read


def readers(fields: Any) -> Mapping[str, Reader]:
    """Return how each field of a dataclass is read, in their order.

    A field says it by `Annotated`; of those that do not, texts, booleans and words of a `Literal` are read as such, and
    others are left out.
    """
    return _readers(fields)


@cache
def _readers(fields: Any) -> Mapping[str, Reader]:
    hints = get_type_hints(fields, include_extras=True)
    read = {field: _reader_of(hints[field]) for field in fields.__dataclass_fields__}
    return {field: reader for field, reader in read.items() if reader is not None}


def _reader_of(hint: Any) -> Reader | None:
    if get_origin(hint) is Annotated:
        reader: Reader = hint.__metadata__[0]
        return reader
    return choice(get_args(hint)) if get_origin(hint) is Literal else {bool: boolean, str: text}.get(hint)


def refuse_unknown(prefix: str, value: Mapping[str, Any], known: Iterable[str]) -> None:
    """Refuse a table with a key that is not known, with a suggestion."""
    known = tuple(known)
    for key in value:
        if key not in known:
            raise ConfigError(f"{prefix}{key}: unknown field. {did_you_mean(str(key), known)}")


def json_object(content: str, what: str) -> Mapping[str, Any]:
    """Read the text of a JSON object; `what` it is begins the error."""
    try:
        value = json.loads(content)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{what} is not JSON: line {error.lineno}: {error.msg}") from None
    except (ValueError, RecursionError) as error:  # integers of thousands of digits, lists in lists without end
        raise ConfigError(f"{what} cannot be read as JSON: {error}") from None
    if not isinstance(value, Mapping):
        raise ConfigError(f"{what}: expected a JSON object")
    return value
