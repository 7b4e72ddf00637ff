"""The graphs in which ids may be looked up: that of a network, and that of a loss of the user's."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Optional

import mxnet as mx
from mxnet import gluon

from mxspark.data.signature import input_names
from mxspark.job.spec import WorkerSpec
from mxspark.mx.model import recorded
from mxspark.mx.model.lookups import Traced
from mxspark.mx.model.network import Network


def graphs(network: Network, spec: WorkerSpec) -> Iterator[Traced]:
    """Yield the graph of the network, and that of a loss of the user's where it has one."""
    columns = dict(zip(input_names(len(spec.features)), spec.features))
    shapes = {**network.input_shapes, **{p.name: p.shape for p in network.parameters.values()}}
    owner, content = f"the network {spec.training.network.label}", json.loads(network.symbol.tojson())
    yield Traced(owner, content, columns, shapes, _constants(network.block))
    if spec.training.loss.function is not None:
        yield from _of_loss(network, spec)


def _of_loss(network: Network, spec: WorkerSpec) -> Iterator[Traced]:
    rows = next(iter(network.input_shapes.values()))[0]
    outputs = {f"output{place}": shape for place, shape in enumerate(network.output_shapes)}
    labels = {f"label{place}": label for place, label in enumerate(spec.labels)}
    shapes = {**outputs, **{name: (rows, *(label.shape or ())) for name, label in labels.items()}}
    content = _traced(network.loss, list(outputs), list(labels))
    if content is None:  # what is in the arrays does not matter
        zeros = {name: mx.nd.zeros(shapes[name], dtype=label.dtype) for name, label in labels.items()}
        content = recorded.graph_of(network.loss, {name: mx.nd.zeros(shape) for name, shape in outputs.items()}, zeros)
    if content is not None:
        constants = _constants(network.loss)
        shapes.update({name: constant.shape for name, constant in constants.items()})
        yield Traced(f"the loss {spec.training.loss.name}", content, labels, shapes, constants)


def _constants(block: Any) -> dict[str, mx.nd.NDArray]:
    """Return what never changes in a block; nothing of a plain function."""
    parameters = block.collect_params().values() if isinstance(block, gluon.Block) else ()
    return {p.name: p.data() for p in parameters if isinstance(p, gluon.Constant) and p._data is not None}


def _traced(loss: Any, outputs: Sequence[str], labels: Sequence[str]) -> Optional[dict[str, Any]]:
    """Return the graph of a loss that takes symbols; None of any other."""
    if not isinstance(loss, gluon.HybridBlock) or type(loss).forward is not gluon.HybridBlock.forward:
        return None
    given = [mx.sym.var(name) for name in outputs]
    try:
        graph = loss(given[0] if len(given) == 1 else given, *map(mx.sym.var, labels))
    except Exception:  # what is wrong with it, the first step shows
        return None
    content: dict[str, Any] = json.loads(graph.tojson())
    return content
