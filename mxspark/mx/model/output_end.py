"""The layers that the outputs of a network come out of, from its graph."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Optional

import mxnet as mx

from mxspark.job.ends import LOGARITHMS, PROBABILITIES, SCORES, End

# What changes no value.
_HANDED_ON = frozenset(
    {"BlockGrad", "Cast", "Flatten", "Reshape", "SwapAxis", "_copy", "_npx_reshape", "amp_cast", "expand_dims"}
    | {"slice_axis", "squeeze", "transpose"}
)
_SOFTMAX = ("softmax", "SoftmaxActivation")
# By the name of the operator, or of what an Activation is: kind, lowest and highest value.
_ENDS: Mapping[str, tuple[Optional[str], float, float]] = {
    **{name: (PROBABILITIES, 0.0, 1.0) for name in (*_SOFTMAX, "sigmoid")},
    "log_softmax": (LOGARITHMS, -float("inf"), 0.0),
    "FullyConnected": (SCORES, -float("inf"), float("inf")),
    "Convolution": (SCORES, -float("inf"), float("inf")),
    "relu": (None, 0.0, float("inf")),
    "softrelu": (None, 0.0, float("inf")),
    "tanh": (None, -1.0, 1.0),
    "softsign": (None, -1.0, 1.0),
}


def ends(graph: mx.sym.Symbol) -> tuple[Optional[End], ...]:
    """Return the layer behind each output of a graph; None where it says nothing of the values."""
    content = json.loads(graph.tojson())
    return tuple(_end(content["nodes"], head[0]) for head in content["heads"])


def _end(nodes: list[dict[str, Any]], place: int) -> Optional[End]:
    node = nodes[place]
    while node["op"] in _HANDED_ON and node["inputs"]:
        node = nodes[node["inputs"][0][0]]
    kind = node.get("attrs", {}).get("act_type") if node["op"] == "Activation" else node["op"]
    if kind not in _ENDS:
        return None
    is_of_axis = kind in ("softmax", "log_softmax") and node is nodes[place]
    axis = int(node.get("attrs", {}).get("axis", -1)) if is_of_axis else None
    return End(f"{kind} {node['name']}", *_ENDS[kind], axis=axis)
