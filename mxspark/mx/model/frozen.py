"""Parameters that are not to be trained (`grad_req` "null"), and those that are not trained because of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from mxspark.mx.model.network import Network

_WHY = (
    "the weight of its layer has grad_req 'null', and MXNet's FullyConnected, by a mistake of its oneDNN, then makes "
    "no gradient for the bias: set grad_req = 'null' on the bias, too, or, to train it, cluster.environment: "
    '{MXNET_MKLDNN_ENABLED: "0"}'
)


@dataclass(frozen=True)
class Trained:
    """Parameters that are to be trained, and the others.

    Attributes
    ----------
    names : tuple of str
        Of those that take a gradient, in the network's order.
    frozen : tuple of str
        Of those that are not to get one; statistics are none of them.
    known : dict of str to str
        Why one of those that take a gradient may get none, by its name: MXNet 1.9 forgets some.
    """

    names: tuple[str, ...]
    frozen: tuple[str, ...] = ()
    known: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, network: Network) -> Trained:
        """Look through a network."""
        others = {parameter.name for parameter in (*network.trained, *network.statistics)}
        frozen = tuple(name for name, parameter in network.parameters.items() if parameter.name not in others)
        return cls(network.trained_names, frozen, dict.fromkeys(_forgotten(network, frozen), _WHY))


def _forgotten(network: Network, frozen: Sequence[str]) -> Iterator[str]:
    nodes = json.loads(network.symbol.tojson())["nodes"]
    names = {parameter.name: name for name, parameter in network.parameters.items()}
    for node in nodes:
        if node["op"] == "FullyConnected" and len(node["inputs"]) == 3:
            weight, bias = (names.get(nodes[entry[0]]["name"]) for entry in node["inputs"][1:])
            if weight in frozen and bias is not None and bias not in frozen:
                yield bias
