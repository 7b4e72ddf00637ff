"""Frozen dataclasses to plain JSON values and back: the one codec of everything that travels."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")


def encode(value: Any) -> Any:
    """Return `value` as JSON would hold it: dataclasses become dicts, tuples become lists."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: encode(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [encode(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"a {type(value).__name__} cannot travel: {value!r}")


def decode(kind: type[T], value: Any) -> T:
    """Build a `kind` from what :func:`encode` made.

    Raises
    ------
    ValueError
        If a key is missing or unknown, or a value has the wrong type; the message names the field.
    """
    result: T = _decode(kind, value, kind.__name__)
    return result


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _decode(kind: Any, value: Any, where: str) -> Any:
    if kind is Any:
        return value
    if dataclasses.is_dataclass(kind):
        return _decode_dataclass(kind, value, where)
    origin = get_origin(kind)
    if origin is Union or origin is getattr(types, "UnionType", Union):
        return _decode_union(get_args(kind), value, where)
    if origin is tuple:
        return _decode_tuple(get_args(kind), value, where)
    if origin in (dict, Mapping):
        _expect(isinstance(value, dict), dict, value, where)
        item = get_args(kind)[1]
        return {key: _decode(item, part, f"{where}[{key}]") for key, part in value.items()}
    if kind is float:
        _expect(isinstance(value, (int, float)) and not isinstance(value, bool), float, value, where)
        return float(value)
    _expect(isinstance(value, kind) and not (kind is int and isinstance(value, bool)), kind, value, where)
    return value


def _decode_dataclass(kind: Any, value: Any, where: str) -> Any:
    _expect(isinstance(value, dict), dict, value, where)
    hints = _hints(kind)
    unknown = sorted(set(value) - set(hints))
    if unknown:
        raise ValueError(f"{where}: unknown keys {unknown}")
    missing = [
        f.name
        for f in dataclasses.fields(kind)
        if f.name not in value and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ValueError(f"{where}: missing keys {missing}")
    return kind(**{key: _decode(hints[key], part, f"{where}.{key}") for key, part in value.items()})


def _decode_union(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and type(None) in kinds:
        return None
    problems = []
    for kind in kinds:
        if kind is type(None):
            continue
        try:
            return _decode(kind, value, where)
        except ValueError as error:
            problems.append(str(error))
    raise ValueError("; ".join(problems))


def _decode_tuple(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    _expect(isinstance(value, (list, tuple)), list, value, where)
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        return tuple(_decode(kinds[0], part, f"{where}[{i}]") for i, part in enumerate(value))
    if len(kinds) != len(value):
        raise ValueError(f"{where}: {len(kinds)} parts expected, {len(value)} found")
    return tuple(_decode(kind, part, f"{where}[{i}]") for i, (kind, part) in enumerate(zip(kinds, value)))


def _expect(holds: bool, kind: Any, value: Any, where: str) -> None:
    if not holds:
        raise ValueError(f"{where}: expected {getattr(kind, '__name__', kind)}, found {value!r:.80}")
