"""Pictures whose channels come last, as most programs have them, under a convolution that takes them first."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import mxnet as mx

Shape = tuple[int, ...]
_FEW = (1, 3, 4)
# What leaves every axis where it is.
_IN_PLACE = ("Cast", "amp_cast", "_copy", "BatchNorm", "Activation", "Dropout")


def channels_last(graph: mx.sym.Symbol, inputs: Mapping[str, Shape]) -> Iterator[tuple[str, str]]:
    """Yield each input whose last axis looks like channels, where a convolution takes the first for them, and its name.

    Parameters
    ----------
    inputs : mapping of str to tuple of int
        Shapes of one batch by the names of the graph's inputs.
    """
    nodes = json.loads(graph.tojson())["nodes"]
    for node in nodes:
        if node["op"] != "Convolution" or node["attrs"].get("layout", "None") not in ("None", "NCHW"):
            continue
        name = _source(nodes, node["inputs"][0][0])
        shape = inputs.get(name, ())
        if len(shape) == 4 and shape[3] in _FEW and shape[1] not in _FEW and shape[2] not in _FEW:
            yield name, node["name"]


def _source(nodes: list[dict[str, Any]], place: int) -> str:
    """Return the name of the input that reaches a node as it is, or of what comes before."""
    node = nodes[place]
    while (node["op"] in _IN_PLACE or node["op"].endswith("_scalar")) and node["inputs"]:
        node = nodes[node["inputs"][0][0]]
    return str(node["name"])
