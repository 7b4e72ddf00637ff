"""MXNet's operators as Python functions, each compiled when it is first called.

While it is imported, MXNet writes a function for each of its operators, once for arrays and once for symbols, as text
and compiles it: 2,556 of them, of which a job calls a few dozen. That is two thirds of the time of the import.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from types import FunctionType, MappingProxyType, ModuleType
from typing import Any, Optional

_WRITERS = ("mxnet.ndarray.register", "mxnet.symbol.register")
_DEF = "\ndef "


class _Late(inspect.Signature):
    """What a function will be, and for who asks before that (`inspect.signature`) its signature.

    Parameters
    ----------
    text : str
        Its source, which defines nothing else.
    scope : dict
        The globals it is defined in.
    """

    __slots__ = ("_function", "_scope", "_text")

    def __init__(self, text: str, name: str, scope: dict[str, Any]) -> None:
        super().__init__()
        self._text = text
        self._scope = scope
        self._function = FunctionType(_first_call.__code__, scope, name)
        self._function.__qualname__ = name
        self._function.__kwdefaults__ = {"mxspark_late": self}
        vars(self._function)["__signature__"] = self

    @property
    def parameters(self) -> MappingProxyType[str, inspect.Parameter]:
        """Those of the function."""
        return inspect.signature(self.compile()).parameters

    @property
    def function(self) -> FunctionType:
        """The function, compiled or not."""
        return self._function

    def compile(self) -> FunctionType:
        """Make of the function what its source says, in place: others have it already."""
        defined: dict[str, FunctionType] = {}
        exec(self._text, self._scope, defined)
        (compiled,) = defined.values()
        # Threads may call it meanwhile: the code comes after the defaults, which the code before it ignores, and before
        # what only that needs.
        self._function.__defaults__ = compiled.__defaults__
        self._function.__code__ = compiled.__code__
        self._function.__kwdefaults__ = None
        if vars(self._function).get("__signature__") is self:  # MXNet gives some of them another
            vars(self._function).pop("__signature__", None)
        return self._function


def _first_call(*arguments: Any, mxspark_late: Any, **named: Any) -> Any:
    """Stand for any function: runs in MXNet's modules, without globals of ours."""
    return mxspark_late.compile()(*arguments, **named)


@contextmanager
def compiled_late() -> Iterator[None]:
    """Have MXNet's functions compiled when they are called, if it is imported meanwhile."""
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for scope in finder.scopes:
            scope.pop("exec", None)


class _Finder:
    """Finds the modules that write functions, and gives each an ``exec`` of its own.

    Attributes
    ----------
    scopes : list of dict
        The globals of those modules. They are asked to write until MXNet has been imported.
    """

    def __init__(self) -> None:
        self.scopes: list[dict[str, Any]] = []

    def find_spec(self, name: str, path: Any = None, target: Optional[ModuleType] = None) -> Optional[ModuleSpec]:
        """Return where a module is, as all finders do; None for all other modules."""
        spec = PathFinder.find_spec(name, path, target) if name in _WRITERS else None
        if spec is not None and spec.loader is not None:
            run = functools.partial(self._run, spec.loader.exec_module)
            spec.loader.exec_module = run  # type: ignore[method-assign]
        return spec

    def _run(self, exec_module: Callable[[ModuleType], None], module: ModuleType) -> None:
        scope = vars(module)
        scope["exec"] = functools.partial(_define, scope)
        self.scopes.append(scope)
        exec_module(module)


def _define(scope: dict[str, Any], text: str, outer: Optional[Mapping[str, Any]], defined: dict[str, Any]) -> None:
    """Stand for ``exec(text, None, defined)`` where the text is one function."""
    name = text[len(_DEF) :].partition("(")[0]
    if outer is not None or not text.startswith(_DEF) or not name.isidentifier():
        exec(text, scope if outer is None else dict(outer), defined)
    else:
        defined[name] = _Late(text, name, scope).function
