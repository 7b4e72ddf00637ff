"""What a job may choose by name, by dotted path, or as a function of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Callable

from mxspark.config.yaml12 import plain
from mxspark.job import catalog
from mxspark.job.spec import Component, Function

_DOTTED = re.compile(r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$")


def component(kind: str) -> Callable[[Any], Any]:
    """Return what turns a name, a mapping, a dotted path or a function into a `Component` of that kind."""

    def build(value: Any) -> Any:
        if value is None or isinstance(value, Component):
            return value
        if callable(value):
            shipped = Function.ship(value)
            return Component(shipped.label, function=shipped)
        if isinstance(value, str):
            value = {"name": value}
        if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
            raise ValueError(f"expected a name, a mapping with a name, or a function; found {value!r:.80}")
        options = {str(key): plain(item) for key, item in value.items() if key != "name"}
        name = value["name"]
        if _DOTTED.match(name):
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
    if callable(value):
        return Function.ship(value)
    if not isinstance(value, str) or not _DOTTED.match(value):
        raise ValueError(f"expected a function or its dotted path 'package.module:function', found {value!r:.80}")
    return Function(label=value, path=value)
