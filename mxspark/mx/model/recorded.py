"""The graph of what a loss does with arrays, as MXNet records it to go back through: a plain function has one, too."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Callable, Optional

import mxnet as mx
from mxnet import autograd

Content = dict[str, Any]
Shape = tuple[int, ...]


def graph_of(
    loss: Callable[..., Any], outputs: Mapping[str, mx.nd.NDArray], labels: Mapping[str, mx.nd.NDArray]
) -> Optional[Content]:
    """Return the graph's JSON, in which the given arrays have their names here; None where there is none.

    What a loss makes of numbers of its own has no name in it, and what it asks for the values of is not part of it.
    """
    given = {name: array.copy() for name, array in (*outputs.items(), *labels.items())}
    for array in given.values():
        array.attach_grad()
    taken = [given[name] for name in outputs]
    try:
        with autograd.record():
            losses = loss(taken[0] if len(taken) == 1 else taken, *(given[name] for name in labels))
        content: Content = json.loads(autograd.get_symbol(losses).tojson())
    except Exception:  # what is wrong with it, the first step shows
        return None
    names = {autograd.get_symbol(array).list_inputs()[0]: name for name, array in given.items()}
    for node in content["nodes"]:
        node["name"] = names.get(node["name"], node["name"])
    return content


def pairs_by_rank(content: Content, shapes: Mapping[str, Shape], outputs: Sequence[str]) -> bool:
    """Tell whether an output meets a label of fewer axes, so that every row is paired with every other.

    Who pairs rows on purpose says so, with an axis for each of the two.
    """
    inside = mx.sym.load_json(json.dumps(content)).get_internals()
    known = {name: shape for name, shape in shapes.items() if name in inside.list_inputs()}
    found = inside.infer_shape_partial(**known)[1]
    of_node = {name: tuple(shape) for name, shape in zip(inside.list_outputs(), found)}
    sources: list[set[bool]] = []  # of each node, whether outputs or labels have gone into it
    made: list[Shape] = []
    for node in content["nodes"]:
        inputs = [inner[0] for inner in node["inputs"]]
        sources.append(set().union(*(sources[place] for place in inputs)))
        if node["name"] in shapes:
            sources[-1].add(node["name"] in outputs)
        made.append(of_node.get(node["name"], of_node.get(f"{node['name']}_output", ())))
        if node["op"].startswith("broadcast_") and len(inputs) == 2:
            one, other = (made[place] for place in inputs)
            is_mixed = len(one) != len(other) and made[-1] not in (one, other)
            if is_mixed and {True, False} <= sources[inputs[0]] | sources[inputs[1]]:
                return True
    return False
