"""Whether a function that was given as such is the one of before: its label does not tell."""

from __future__ import annotations

import dis
import functools
import hashlib
import os
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from types import CodeType, MethodType, ModuleType
from typing import Any, Callable

from mxspark.job import code as modules

_PLAIN = (bool, int, float, complex, str, bytes, type(None))
_MANY = (tuple, list, dict, set, frozenset)
_LISTED = (tuple, list)
_STDLIB = sysconfig.get_paths()["stdlib"] + os.sep
_GLOBAL = ("LOAD_GLOBAL", "LOAD_NAME")
# Of a block of Gluon's: its names, another one each time it is made, and what it keeps while it is used.
_OF_BLOCKS = {
    "_prefix", "_name", "_empty_prefix", "_params", "_scope", "_forward_hooks", "_forward_pre_hooks", "_cached_graph",
    "_cached_op", "_cached_op_args", "_out_format", "_in_format", "_active", "_flags", "_callback", "_monitor_all",
    "_backend", "_backend_opts", "_partition_if_dynamic", "_first_forward",
}  # fmt: skip


def digest_of(function: Callable[..., Any]) -> str:
    """Return a digest of a function's code and of the values it uses, the same in every process of one Python.

    The functions and classes of the user's own modules that it names count too, and the modules that it imports itself.
    Neither where it was written counts nor what it calls of installed packages: a difference is a hint to its user.

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
        if isinstance(value, ModuleType):
            return value.__name__
        if isinstance(value, _MANY):  # a dict or a set has no order that is the same in every process
            items = value.items() if isinstance(value, dict) else value
            return sorted(repr(self.of(item, within)) for item in items)
        if isinstance(value, functools.partial):
            return [self.of(part, within) for part in (value.func, value.args, value.keywords)]
        numbers = _array(value)
        if numbers is not None:
            return numbers
        return [self.of(type(value), within), self._state(value, within)]

    def _state(self, value: Any, within: frozenset[int]) -> Any:
        """Return the parts of what an object holds; of one that nobody can write down there are none."""
        kind = type(value)
        if _package(kind) in ("pyspark", "py4j"):  # what cannot travel is refused elsewhere
            return []
        if not any(name in vars(each) for each in kind.__mro__[:-1] for name in ("__reduce__", "__reduce_ex__")):
            return sorted((name, self.of(each, within)) for name, each in _attributes(value).items())
        try:
            given = value.__reduce_ex__(4)
        except Exception:  # a lock, a file, an iterator
            return []
        if isinstance(given, str):
            return given
        # how it is made, of what, with which attributes; then its items
        return [self.of(part if isinstance(part, _MANY) else _listed(part), within) for part in given]

    def _function(self, value: Any) -> Any:
        used = list(_globals(value.__code__, getattr(value, "__globals__", {})))
        cells = [_content(cell) for cell in getattr(value, "__closure__", None) or ()]
        defaults = [getattr(value, "__defaults__", None) or (), getattr(value, "__kwdefaults__", None) or {}]
        return [self.of(part, frozenset()) for part in (value.__code__, *used, *cells, *defaults)]

    def _class(self, kind: type) -> Any:
        """Return the parts of a class's own body, and of those it is derived from."""
        own = {name: _plain_function(each) for name, each in vars(kind).items()}
        told = {name: each for name, each in own.items() if _is_function(each) or name[:2] != "__"}
        body = [(name, self.of(each, frozenset())) for name, each in sorted(told.items())]
        return [kind.__name__, body, [self.of(base, frozenset()) for base in kind.__bases__]]


def _array(value: Any) -> Any:
    """Return what an array of numbers, or one number of numpy's, holds; None of anything else."""
    # by its type: there are objects, as columns of Spark's, that have an attribute of any name
    given = value.asnumpy() if hasattr(type(value), "asnumpy") else value
    if not all(hasattr(type(given), name) for name in ("tobytes", "dtype", "shape")):
        return None
    return [str(given.dtype), list(given.shape), hashlib.sha256(given.tobytes()).hexdigest()]


def _attributes(value: Any) -> dict[str, Any]:
    """Return the attributes of an object, but for what MXNet keeps in its own."""
    kind = type(value)
    slots = [name for each in kind.__mro__ for name in _names(vars(each).get("__slots__", ()))]
    own = {name: getattr(value, name) for name in slots if hasattr(value, name)} | dict(getattr(value, "__dict__", {}))
    if not any(_package(each) == "mxnet" for each in kind.__mro__):
        return own
    kept = {name: each for name, each in own.items() if name not in _OF_BLOCKS}
    if "_children" in own:
        return kept
    # of a class of MXNet's that is no block, as a parameter is: what it is like, not what it is called or bound to
    return {name: each for name, each in kept.items() if isinstance(each, (*_PLAIN, *_LISTED)) and name != "name"}


def _names(slots: Any) -> Any:
    return (slots,) if isinstance(slots, str) else slots


def _package(kind: Any) -> str:
    return str(kind.__module__).partition(".")[0]


def _listed(part: Any) -> Any:
    """Return the items of an iterator as a list, and all else as it is."""
    return list(part) if isinstance(part, Iterator) else part


def _plain_function(value: Any) -> Any:
    """Return the function inside a static method, a class method or a property."""
    return getattr(value, "__func__", None) or getattr(value, "fget", None) or value


def _is_function(value: Any) -> bool:
    return isinstance(getattr(value, "__code__", None), CodeType)


def _is_of_user(value: Any) -> bool:
    """Tell whether the code of a function or class may change: that of the libraries is known by its name."""
    if _package(value) in modules.LIBRARIES:
        return False
    file = getattr(sys.modules.get(value.__module__), "__file__", None)
    return file is None or not file.startswith(_STDLIB) or "-packages" in file


def _globals(code: CodeType, known: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the values of globals that a function uses, or one inside it."""
    # not `co_names`: attributes have their names there too
    names = dict.fromkeys(each.argval for each in dis.get_instructions(code) if each.opname in _GLOBAL)
    for name in names:
        if name in known:
            yield from _told_of(known[name], known.get("__name__"), code.co_names)
    yield from filter(None, map(modules.of_import, _imports(code)))
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _globals(inner, known)


def _told_of(value: Any, module: Any, names: Sequence[str], within: frozenset[str] = frozenset()) -> Iterator[Any]:
    """Yield what counts of a global: of functions and classes the user's, of a module of the user's what is named."""
    if isinstance(value, ModuleType):
        if value.__name__ not in within and _is_in_file_of_user(value.__name__):
            for name in sorted(set(names) & vars(value).keys()):
                yield from _told_of(vars(value)[name], value.__name__, names, within | {value.__name__})
    elif (
        not (isinstance(value, type) or _is_function(value))
        or value.__module__ == module
        or _is_in_file_of_user(value.__module__)
    ):
        yield value


def _is_in_file_of_user(module: str) -> bool:
    file = getattr(sys.modules.get(module), "__file__", None)
    return file is not None and modules.is_of_user(module, file)


def _imports(code: CodeType) -> Iterator[str]:
    """Yield the names that may be modules in the imports inside a function."""
    package = ""
    for each in dis.get_instructions(code):
        if each.opname == "IMPORT_NAME":
            package = each.argval
            yield package
        elif each.opname == "IMPORT_FROM":
            yield f"{package}.{each.argval}"


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # of what is not defined yet
        return None
