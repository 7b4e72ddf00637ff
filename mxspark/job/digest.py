"""Whether a function that was given as such is the one of before: its label does not tell."""

from __future__ import annotations

import hashlib
from types import CodeType
from typing import Any, Callable

_PLAIN = (bool, int, float, complex, str, bytes, type(None))


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
    if isinstance(value, CodeType):
        return [value.co_code, value.co_names, [_parts(constant, seen) for constant in value.co_consts]]
    code = getattr(value, "__code__", None)
    if not isinstance(code, CodeType):
        return type(value).__name__
    known = getattr(value, "__globals__", {})
    used = [known[name] for name in code.co_names if isinstance(known.get(name), _PLAIN) and name in known]
    cells = [_content(cell) for cell in value.__closure__ or ()]
    return [_parts(part, seen) for part in (code, *used, *cells, *(value.__defaults__ or ()))]


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # of what is not defined yet
        return None
