"""Whether a function that was given as such is the one of before: its label does not tell."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Mapping
from types import CodeType
from typing import Any, Callable

_PLAIN = (bool, int, float, complex, str, bytes, type(None))
_MANY = (tuple, list, dict, set, frozenset)


def digest_of(function: Callable[..., Any]) -> str:
    """Return a digest of a function's code and of the plain values it uses, the same in every process of one Python.

    Neither where it was written counts nor what it calls: a difference is a hint to its user.

    >>> def times(factor):
    ...     return lambda value: value * factor
    >>> digest_of(times(2)) == digest_of(times(2)), digest_of(times(2)) == digest_of(times(3))
    (True, False)
    """
    return hashlib.sha256(repr(_parts(function, frozenset())).encode()).hexdigest()[:8]


def _parts(value: Any, seen: frozenset[int]) -> Any:
    if isinstance(value, _PLAIN):
        return value
    if id(value) in seen:  # a function that calls itself has itself in its closure
        return "..."
    seen |= {id(value)}
    if isinstance(value, (tuple, list)):
        return [_parts(item, seen) for item in value]
    if isinstance(value, (dict, set, frozenset)):  # they have no order that is the same in every process
        items = value.items() if isinstance(value, dict) else value
        return sorted(repr(_parts(item, seen)) for item in items)
    if isinstance(value, functools.partial):
        return [_parts(part, seen) for part in (value.func, value.args, value.keywords)]
    if isinstance(value, CodeType):
        return [value.co_code, value.co_names, [_parts(constant, seen) for constant in value.co_consts]]
    code = getattr(value, "__code__", None)
    if not isinstance(code, CodeType):
        return [type(value).__name__, _parts(_settings(value), seen)]
    used = list(_globals(code, getattr(value, "__globals__", {})))
    cells = [_content(cell) for cell in value.__closure__ or ()]
    defaults = [value.__defaults__ or (), value.__kwdefaults__ or {}]
    return [_parts(part, seen) for part in (code, *used, *cells, *defaults)]


def _settings(value: Any) -> dict[str, Any]:
    """Return the plain attributes of an object; what it keeps for itself, as a cache is, changes as it is used."""
    own = getattr(value, "__dict__", None) or {}
    is_ours = not isinstance(value, type)
    return {name: each for name, each in own.items() if is_ours and name[:1] != "_" and isinstance(each, _PLAIN)}


def _globals(code: CodeType, known: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the values of globals that a function uses, or one inside it."""
    yield from (known[name] for name in code.co_names if name in known and isinstance(known[name], (*_PLAIN, *_MANY)))
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _globals(inner, known)


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # of what is not defined yet
        return None
