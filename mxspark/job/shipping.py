"""A function that was given as such, made ready to travel; what keeps it from that is named by its variable."""

from __future__ import annotations

import base64
import dis
import functools
import io
import itertools
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import cloudpickle

from mxspark.errors import InputError

# What of pyspark is plain data, and works wherever pyspark can be imported.
_DATA_OF_SPARK = ("pyspark.sql.types", "pyspark.ml.linalg", "pyspark.mllib.linalg")
# How far the name of what cannot travel is looked for.
_MOST_LOOKED_AT = 10_000


def pickled(label: str, function: Callable[..., Any]) -> str:
    """Return a function as text, with all that it uses of a notebook or script.

    Raises
    ------
    InputError
        Naming what cannot leave this process, and the variable it is in.
    """
    packed = io.BytesIO()
    pickler = _Pickler(packed)
    try:
        pickler.dump(function)
    except _OfSpark as found:
        name, value = _name_of(found.value, function), found.value
        raise InputError(
            f"{label} uses {name} ({type(value).__name__}), and there is no Spark in a worker; make what it needs of "
            f"that outside the function, as in {_instead(name, value)}, and use it inside"
        ) from None
    except Exception as error:  # whatever objects raise that do not let themselves be pickled
        name, kind = _name_of(pickler.last, function), _kind(pickler.last)
        raise InputError(
            f"{label} uses {name} ({kind}), which cannot be sent to a worker: {error}; make it inside the function, or "
            "leave it out"
        ) from error
    return base64.b64encode(packed.getvalue()).decode()


class _OfSpark(Exception):
    """Ends the pickling of a function that uses what lives in the driver: a broadcast variable could be pickled."""

    def __init__(self, value: Any) -> None:
        super().__init__(type(value).__name__)
        self.value = value


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Remembers what it was at last; it is asked for everything but numbers, texts and their containers."""

    last: Any = None

    def reducer_override(self, obj: Any) -> Any:
        """Return how an object is pickled."""
        self.last = obj
        if _is_of_spark(obj):
            raise _OfSpark(obj)
        return super().reducer_override(obj)


def _is_of_spark(value: Any) -> bool:
    if isinstance(value, (type, ModuleType, FunctionType)):
        return False
    place = type(value).__module__
    return place.split(".")[0] in ("pyspark", "py4j") and place not in _DATA_OF_SPARK


def _instead(name: str, value: Any) -> str:
    return f"values = {name}.value" if type(value).__name__ == "Broadcast" else "n = df.count()"


def _kind(value: Any) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _name_of(wanted: Any, function: Callable[..., Any]) -> str:
    """Return what the user calls a thing that a function uses, as ``settings['lock']``; "something" if it is hidden."""
    found = deque([("", function)])
    seen = {id(function)}
    for _ in range(_MOST_LOOKED_AT):
        if not found:
            break
        name, value = found.popleft()
        for inner, held in _held(value):
            path = inner if isinstance(value, _WITH_NAMES) else f"{name}{inner}"
            if held is wanted:
                return path
            if id(held) not in seen:
                seen.add(id(held))
                found.append((path, held))
    return "something"


# What holds others by names of their own; of the rest they are parts.
_WITH_NAMES = (FunctionType, MethodType, functools.partial)


def _held(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield what a value brings along, by the end of its name."""
    if isinstance(value, FunctionType):
        yield from _used(value)
    elif isinstance(value, MethodType):
        yield from (("self", value.__self__), (value.__name__, value.__func__))
    elif isinstance(value, functools.partial):
        yield from ((f"argument {place} of a partial", each) for place, each in enumerate(value.args, 1))
        yield from ((value.func.__name__, value.func), *value.keywords.items())
    elif isinstance(value, Mapping):
        yield from ((f"[{key!r}]", each) for key, each in value.items())
    elif isinstance(value, (list, tuple, set, frozenset)):
        yield from ((f"[{place}]", each) for place, each in enumerate(value))
    elif not isinstance(value, (type, ModuleType)):
        yield from ((f".{key}", each) for key, each in (getattr(value, "__dict__", None) or {}).items())


def _used(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """Yield the variables of a function that are not its own, and the defaults of its parameters."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or ()):
        try:
            yield name, cell.cell_contents
        except ValueError:  # of what is not defined yet
            continue
    known = function.__globals__
    yield from ((name, known[name]) for name in _global_names(function.__code__) if name in known)
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    defaults = function.__defaults__ or ()
    yield from zip(names[len(names) - len(defaults) :], defaults)
    yield from (function.__kwdefaults__ or {}).items()


def _global_names(code: CodeType) -> Iterator[str]:
    yield from (step.argval for step in dis.get_instructions(code) if step.opname == "LOAD_GLOBAL")
    yield from itertools.chain.from_iterable(map(_global_names, (c for c in code.co_consts if isinstance(c, CodeType))))
