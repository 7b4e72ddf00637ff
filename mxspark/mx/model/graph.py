"""What a network computes, without the names it has: equal for two builds of one network, other for another."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

import mxnet as mx


def describe(symbol: mx.sym.Symbol, inputs: Collection[str]) -> tuple[str, ...]:
    """Return one line for each operator, input and parameter of a network, and one for its outputs.

    Layers get other numbers in their names with each build, so a line refers to those before by their place. What is
    said of a parameter beside its type (its initializer, its factor of the learning rate) is not what is computed.

    Parameters
    ----------
    inputs : collection of str
        The names of its inputs, which are ours.

    >>> print(*describe(mx.sym.relu(mx.sym.var("data")), ["data"]), sep="; ")
    input data; relu() of 0; outputs 1
    """
    return tuple(_lines(json.loads(symbol.tojson()), inputs))


def _lines(graph: Any, inputs: Collection[str]) -> list[str]:
    return [*(_line(node, inputs) for node in graph["nodes"]), "outputs " + _places(graph["heads"])]


def _line(node: Any, inputs: Collection[str]) -> str:
    options = node.get("attrs", {})
    if node["op"] == "null":
        kind = f"input {node['name']}" if node["name"] in inputs else "parameter"
        return f"{kind} {options['__dtype__']}" if "__dtype__" in options else kind
    shown = ", ".join(f"{key}={options[key]}" for key in sorted(options) if not key.startswith("__"))
    inner = "".join(f" [{'; '.join(_lines(part, ()))}]" for part in node.get("subgraphs", ()))
    return f"{node['op']}({shown}) of {_places(node['inputs'])}{inner}"


def _places(entries: Any) -> str:
    return ", ".join(f"{entry[0]}.{entry[1]}" if entry[1] else str(entry[0]) for entry in entries)
