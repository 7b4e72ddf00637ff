"""Whether a function that was given as such is the one of before: its label does not tell."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Mapping
from types import CodeType, MethodType
from typing import Any, Callable

_PLAIN = (bool, int, float, complex, str, bytes, type(None))
_MANY = (tuple, list, dict, set, frozenset)
_LISTED = (tuple, list)
_NAMES = ("_prefix", "_name", "_empty_prefix")  # of a block of Gluon's: another one each time it is made


def digest_of(function: Callable[..., Any]) -> str:
    """Return a digest of a function's code and of the values it uses, the same in every process of one Python.

    The functions and classes of its own module that it names count too. Neither where it was written counts nor what
    it calls of other modules: a difference is a hint to its user.

    >>> def times(factor):
    ...     return lambda value: value * factor
    >>> digest_of(times(2)) == digest_of(times(2)), digest_of(times(2)) == digest_of(times(3))
    (True, False)
    """
    return hashlib.sha256(repr(_Parts().of(function, frozenset())).encode()).hexdigest()[:8]


class _Parts:
    """What tells one value from another, as plain values whose repr is the same in every process."""

    def __init__(self) -> None:
        self._told: set[int] = set()  # functions and classes: each is told once, also where it names itself

    def of(self, value: Any, within: frozenset[int]) -> Any:
        """Return the parts of a value; `within` are the containers that it lies in."""
        if isinstance(value, _PLAIN):
            return value
        if isinstance(value, CodeType):
            return [value.co_code, value.co_names, [self.of(constant, within) for constant in value.co_consts]]
        if id(value) in within or id(value) in self._told:
            return "..."
        if isinstance(value, MethodType):
            return [self.of(value.__func__, within), self.of(value.__self__, within)]
        if not (isinstance(value, type) or _is_function(value)):
            return self._object(value, within | {id(value)})
        if not _is_of_user(value):
            return f"{value.__module__}.{value.__qualname__}"
        self._told.add(id(value))
        return self._class(value) if isinstance(value, type) else self._function(value)

    def _object(self, value: Any, within: frozenset[int]) -> Any:
        if isinstance(value, _LISTED):
            return [self.of(item, within) for item in value]
        if isinstance(value, _MANY):  # a dict or a set has no order that is the same in every process
            items = value.items() if isinstance(value, dict) else value
            return sorted(repr(self.of(item, within)) for item in items)
        if isinstance(value, functools.partial):
            return [self.of(part, within) for part in (value.func, value.args, value.keywords)]
        numbers = _array(value)
        if numbers is not None:
            return numbers
        settings = {name: self.of(each, within) for name, each in _settings(value).items()}
        return [self.of(type(value), within), sorted(settings.items())]

    def _function(self, value: Any) -> Any:
        used = list(_globals(value.__code__, getattr(value, "__globals__", {})))
        cells = [_content(cell) for cell in getattr(value, "__closure__", None) or ()]
        defaults = [getattr(value, "__defaults__", None) or (), getattr(value, "__kwdefaults__", None) or {}]
        return [self.of(part, frozenset()) for part in (value.__code__, *used, *cells, *defaults)]

    def _class(self, kind: type) -> Any:
        """Return the parts of a class's own body."""
        own = {name: _plain_function(each) for name, each in vars(kind).items()}
        told = {name: each for name, each in own.items() if _is_function(each) or _is_setting(name, each)}
        return [kind.__name__, [(name, self.of(each, frozenset())) for name, each in sorted(told.items())]]


def _array(value: Any) -> Any:
    """Return what an array of numbers, or one number of numpy's, holds; None of anything else."""
    # by its type: there are objects, as columns of Spark's, that have an attribute of any name
    given = value.asnumpy() if hasattr(type(value), "asnumpy") else value
    if not all(hasattr(type(given), name) for name in ("tobytes", "dtype", "shape")):
        return None
    return [str(given.dtype), list(given.shape), hashlib.sha256(given.tobytes()).hexdigest()]


def _settings(value: Any) -> dict[str, Any]:
    """Return the attributes of an object that say what it does; what it keeps for itself changes as it is used."""
    own = getattr(value, "__dict__", None) or {}
    return {name: each for name, each in own.items() if name not in _NAMES and _is_setting(name, each)}


def _is_setting(name: str, value: Any) -> bool:
    """Tell it by what is kept: ``self._alpha`` is a setting, ``self._cache`` is a mapping or an object."""
    if name[:2] == "__":
        return False
    if isinstance(value, _LISTED):
        return all(isinstance(item, _PLAIN) for item in value)
    is_open = isinstance(value, _MANY) and name[:1] != "_"
    return is_open or isinstance(value, _PLAIN) or _array(value) is not None


def _plain_function(value: Any) -> Any:
    """Return the function inside a static method, a class method or a property."""
    return getattr(value, "__func__", None) or getattr(value, "fget", None) or value


def _is_function(value: Any) -> bool:
    return isinstance(getattr(value, "__code__", None), CodeType)


def _is_of_user(value: Any) -> bool:
    """Tell whether the code of a function or class may change: that of the libraries is known by its name."""
    return str(value.__module__).partition(".")[0] not in ("builtins", "mxnet", "numpy")


def _globals(code: CodeType, known: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the values of globals that a function uses, or one inside it: numbers, and what its module defines."""
    for name in code.co_names:
        if name in known and _is_told(known[name], known.get("__name__")):
            yield known[name]
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _globals(inner, known)


def _is_told(value: Any, module: Any) -> bool:
    if isinstance(value, (*_PLAIN, *_MANY)) or _array(value) is not None:
        return True
    named = value if isinstance(value, type) or _is_function(value) else type(value)
    return bool(named.__module__ == module)


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # of what is not defined yet
        return None
