"""Parameters that are not to be trained (`grad_req` "null"), and those that are not trained because of them."""

from __future__ import annotations

import json

from mxspark.mx.model.network import Network

_WHY = (
    "the weight of its layer has grad_req 'null', and MXNet's FullyConnected, by a mistake of its oneDNN, then makes "
    "no gradient for the bias: set grad_req = 'null' on the bias, too, or, to train it, cluster.environment: "
    '{MXNET_MKLDNN_ENABLED: "0"}'
)


def frozen(network: Network) -> tuple[str, ...]:
    """Return the names of parameters without a gradient that are no statistics."""
    statistics = {parameter.name for parameter in network.statistics}
    return tuple(
        name
        for name, parameter in network.parameters.items()
        if parameter.grad_req == "null" and parameter.name not in statistics
    )


def untrained(network: Network) -> dict[str, str]:
    """Return, by name, why a parameter that is to be trained may get no gradient: MXNet 1.9 forgets some."""
    nodes = json.loads(network.symbol.tojson())["nodes"]
    names = {parameter.name: name for name, parameter in network.parameters.items()}
    without = set(frozen(network))
    found = {}
    for node in nodes:
        if node["op"] == "FullyConnected" and len(node["inputs"]) == 3:
            weight, bias = (names.get(nodes[entry[0]]["name"]) for entry in node["inputs"][1:])
            if weight in without and bias is not None and bias not in without:
                found[bias] = _WHY
    return found
