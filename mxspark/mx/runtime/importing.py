"""The one way a role process imports MXNet: quickly, and on every numpy that works.

``import mxnet`` probes packages it rarely needs (scikit-learn, pandas, scipy, …), which costs more than MXNet itself.
They are hidden while it is imported and visible again afterwards, so that the user's code can import them.
"""

from __future__ import annotations

import importlib
import sys
import types
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import PathFinder
from typing import Any

from mxspark.mx.runtime.operators import compiled_late

_PROBED = ("sklearn", "pandas", "scipy", "onnx", "matplotlib", "graphviz")
_MISSING = object()


class _Deferred(types.ModuleType):
    """Stands for a module until an attribute of it is asked for."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(importlib.import_module(self.__name__), name)


@contextmanager
def _hidden() -> Iterator[None]:
    """Hide packages that are not loaded yet; `requests` is imported without a guard, so it gets a stand-in."""
    absent = [name for name in _PROBED if name not in sys.modules]
    replaced: dict[str, Any] = dict.fromkeys(absent)
    if "requests" not in sys.modules:
        replaced["requests"] = _Deferred("requests")
    sys.modules.update(replaced)
    try:
        yield
    finally:
        for name, stand_in in replaced.items():
            if sys.modules.get(name, _MISSING) is stand_in:
                del sys.modules[name]


@contextmanager
def _plain_distutils() -> Iterator[None]:
    """Let ``distutils`` be Python's own where it has one: setuptools loads all of itself in its place."""
    before = set(sys.modules)
    finders = [finder for finder in sys.meta_path if type(finder).__name__ == "DistutilsMetaFinder"]
    if not finders or PathFinder.find_spec("distutils") is None:  # Python 3.12 has none
        yield
        return
    sys.meta_path[:] = [finder for finder in sys.meta_path if finder not in finders]
    try:
        yield
    finally:
        sys.meta_path[:0] = finders
        # whoever asks next shall get that of setuptools, as always
        for name in [name for name in sys.modules if name.partition(".")[0] == "distutils" and name not in before]:
            del sys.modules[name]


def _restore_numpy_bool() -> None:
    """MXNet 1.9.1 reads ``numpy.bool``, which numpy removed in 1.24."""
    import numpy

    version = tuple(int(part) for part in numpy.__version__.split(".")[:2])
    if version >= (1, 24) and "bool" not in vars(numpy):
        vars(numpy)["bool"] = numpy.bool_


def import_mxnet() -> Any:
    """Import MXNet and return it; a third of a second, a fraction of a plain ``import mxnet``."""
    if "mxnet" in sys.modules:
        return sys.modules["mxnet"]
    _restore_numpy_bool()
    with _hidden(), _plain_distutils(), compiled_late(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module("mxnet")
