"""Whether a graph draws random numbers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import mxnet as mx

_RANDOM_PREFIXES = ("_random_", "_sample_", "_image_random_", "_npi_random", "_npx_random")
_RANDOM_OPERATORS = frozenset(
    {"Dropout", "_shuffle", "_npi_bernoulli", "_npi_choice", "_npi_exponential", "_npi_gamma", "_npi_gumbel"}
    | {"_npi_laplace", "_npi_logistic", "_npi_multinomial", "_npi_normal", "_npi_normal_n", "_npi_pareto"}
    | {"_npi_powerd", "_npi_powerlaw", "_npi_rayleigh", "_npi_uniform", "_npi_uniform_n", "_npi_weibull"}
)


def is_random(graph: mx.sym.Symbol) -> bool:
    """Tell whether a graph has operators that draw random numbers."""
    return any(_is_random(node) for node in _nodes(json.loads(graph.tojson())))


def _nodes(graph: Any) -> Iterator[dict[str, Any]]:
    for node in graph["nodes"]:
        yield node
        for inner in node.get("subgraphs", ()):
            yield from _nodes(inner)


def _is_random(node: dict[str, Any]) -> bool:
    operator, options = node["op"], node.get("attrs", {})
    if operator == "RNN":
        return float(options.get("p", 0)) > 0
    if operator == "LeakyReLU":
        return bool(options.get("act_type") == "rrelu")
    return bool(operator in _RANDOM_OPERATORS or operator.startswith(_RANDOM_PREFIXES))
