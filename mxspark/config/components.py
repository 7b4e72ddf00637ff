"""What a job may choose by name, by dotted path, or as a function of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Callable

from mxspark.config.yaml12 import plain
from mxspark.job import catalog, signatures
from mxspark.job.signatures import SIGNATURES, Takes
from mxspark.job.spec import Component, Function, label_of

#: How a function is named by its path.
DOTTED = re.compile(r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$")


def component(kind: str) -> Callable[[Any], Any]:
    """Return what turns a name, a mapping, a dotted path or a function into a `Component` of that kind."""

    def build(value: Any) -> Any:
        if isinstance(value, Component) or (value is None and kind == "schedule"):
            return value
        if callable(value):
            shipped = _ship(kind, value)
            return Component(shipped.label, function=shipped)
        if isinstance(value, str):
            value = {"name": value}
        if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
            raise ValueError(
                f"is {_described(value)}; give a name, a mapping {{name: ..., option: ...}}, or a function "
                f"{SIGNATURES[kind]}"
            )
        options = {str(key): plain(item) for key, item in value.items() if key != "name"}
        name = value["name"]
        if DOTTED.match(name):
            if options:
                raise ValueError(
                    f"{name} is a function of yours and takes no options, but {sorted(options)} are given; "
                    "remove them, or set them in the function"
                )
            return Component(name, function=Function(label=name, path=name))
        problems = catalog.check(kind, name, options)
        if problems:
            raise ValueError("; ".join(problems))
        return Component(name, options)

    return build


def network(value: Any) -> Any:
    """Turn a dotted path or a function into a `Function`."""
    if isinstance(value, Function):
        return value
    if _is_mxnet(value, "mxnet.gluon.block.Block"):
        raise ValueError(
            f"is {_described(value)}, the network itself; give a function {SIGNATURES['network']}: every worker builds "
            "its own"
        )
    if callable(value):
        return _ship("network", value)
    if not isinstance(value, str) or not DOTTED.match(value):
        raise ValueError(
            f"is {_described(value)}; give a function {SIGNATURES['network']}, or its dotted path "
            "'package.module:function'"
        )
    return Function(label=value, path=value)


def _ship(kind: str, value: Callable[..., Any]) -> Function:
    """Ship a function that can be what a key of its kind is given."""
    # MXNet's initializers are called with an array each; users know them as objects
    if not (kind == "initializer" and _is_mxnet(value, "mxnet.initializer.Initializer")):
        problem = signatures.problem(kind, Takes.of(label_of(value), value))
        if problem is not None:
            raise ValueError(problem)
    return Function.ship(value)


def _is_mxnet(value: Any, name: str) -> bool:
    """Tell whether a value is of a class of MXNet's, which is not imported for that."""
    return any(f"{kind.__module__}.{kind.__qualname__}" == name for kind in type(value).__mro__)


def _described(value: Any) -> str:
    if value is None or isinstance(value, (str, int, float, list, tuple, dict)):
        return f"{value!r:.80}"
    return f"an object of the class {type(value).__module__}.{type(value).__qualname__}"
