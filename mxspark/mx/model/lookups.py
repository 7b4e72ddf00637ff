"""Where a graph looks up ids that follow from its inputs alone: MXNet takes those not in the table for others."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

import mxnet as mx
import numpy as np
from mxnet import gluon

from mxspark.data.dataset import DataSet
from mxspark.data.signature import input_names
from mxspark.data.spool import ColumnSpec
from mxspark.job.spec import WorkerSpec
from mxspark.mx.model.network import Network, extremes, is_random

Shape = tuple[int, ...]
Range = tuple[int, float]
Options = Mapping[str, str]

# What hands values on as they are, or some of them: the extremes of a column bound what comes out.
_KEEP = frozenset(
    {"BlockGrad", "Concat", "Flatten", "Reshape", "SliceChannel", "SwapAxis", "_copy", "expand_dims", "slice"}
    | {"slice_axis", "slice_like", "squeeze", "stack", "transpose"}
)
_CASTS = ("Cast", "amp_cast")
_WIDE = ("int32", "int64", "float32", "float64")


@dataclass(frozen=True)
class _Kind:
    """How an operator looks up.

    Attributes
    ----------
    ids : int
        Which of its inputs the ids are.
    allowed : callable
        From its options and the shape of its first input to the first and last id; None where any may be meant.
    widen : str
        What makes room for more ids, where that is an option.
    noun : str
        What the ids are called.
    """

    ids: int
    allowed: Callable[[Options, Shape], Optional[Range]]
    widen: str = ""
    noun: str = "ids"


def _of_size(option: str) -> Callable[[Options, Shape], Optional[Range]]:
    return lambda options, _: (0, int(options[option]) - 1)


def _of_axis(default: str) -> Callable[[Options, Shape], Optional[Range]]:
    def allowed(options: Options, table: Shape) -> Optional[Range]:
        axis = options.get("axis", default)
        if options.get("mode") == "wrap":
            return None
        return 0, (math.prod(table) if axis == "None" else table[int(axis)]) - 1

    return allowed


def _of_lengths(first: int, is_bounded: bool) -> Callable[[Options, Shape], Optional[Range]]:
    def allowed(options: Options, data: Shape) -> Optional[Range]:
        if options.get("use_sequence_length") not in ("True", "1"):
            return None
        return first, data[int(options.get("axis", 0))] if is_bounded else math.inf

    return allowed


_EMBEDDING = _Kind(0, _of_size("input_dim"), "input_dim")
# By the name of the operator. What is here clips, leaves out, or reads and writes beyond the array.
_KINDS: Mapping[str, _Kind] = {
    "Embedding": _EMBEDDING,
    "_contrib_SparseEmbedding": _EMBEDDING,
    "one_hot": _Kind(0, _of_size("depth"), "depth"),
    "take": _Kind(1, _of_axis("0")),
    "pick": _Kind(1, _of_axis("-1")),
    "batch_take": _Kind(1, lambda _, table: (0, table[1] - 1)),
    # each axis has ids of its own; MXNet refuses one too large, and takes a negative one from the end
    "gather_nd": _Kind(1, lambda _, table: (0, max(table) - 1)),
    "SequenceMask": _Kind(1, _of_lengths(0, is_bounded=False), noun="lengths"),  # one too large masks nothing
    "SequenceLast": _Kind(1, _of_lengths(1, is_bounded=True), noun="lengths"),
    "SequenceReverse": _Kind(1, _of_lengths(0, is_bounded=True), noun="lengths"),
}


@dataclass(frozen=True)
class Lookup:
    """Where a graph takes numbers of its inputs for ids.

    Attributes
    ----------
    name : str
        The operator's own and that of its place in the graph.
    kind : _Kind
        How it looks up.
    head : sequence of int
        What gives the ids: node and output of the graph's JSON.
    inputs : tuple of str
        The inputs of the graph that the ids follow from.
    allowed : tuple
        First and last id.
    is_kept : bool
        Whether the ids are values of the inputs as they are.
    """

    name: str
    kind: _Kind
    head: Sequence[int]
    inputs: tuple[str, ...]
    allowed: Range
    is_kept: bool


@dataclass(frozen=True)
class Traced:
    """A graph, and what comes into it.

    Attributes
    ----------
    owner : str
        Whose graph it is, for messages.
    content : dict
        The graph's JSON.
    columns : dict of str to ColumnSpec
        By name of the graph's input, what is fed to it from the rows.
    shapes : dict of str to tuple of int
        Of every input of the graph, columns and parameters, for one batch.
    constants : dict of str to NDArray
        Inputs that never change.
    """

    owner: str
    content: dict[str, Any]
    columns: Mapping[str, ColumnSpec]
    shapes: Mapping[str, Shape]
    constants: Mapping[str, mx.nd.NDArray]

    def lookups(self) -> Iterator[Lookup]:
        """Yield where it looks up what follows from the columns alone, and not from what is learned."""
        kept = self._kept()
        for node in self.content["nodes"]:
            kind = _KINDS.get(node["op"])
            if kind is None or len(node["inputs"]) <= kind.ids:
                continue
            head = node["inputs"][kind.ids]
            ids = self._part([head])
            inputs = set(ids.list_inputs())
            columns = tuple(name for name in self.columns if name in inputs)
            if not columns or inputs - set(columns) - set(self.constants) or is_random(ids):
                continue
            allowed = kind.allowed(node.get("attrs", {}), self._shape(node["inputs"][0]))
            if allowed is not None:
                yield Lookup(f"{node['op']} {node['name']}", kind, head, columns, allowed, head[0] in kept)

    def ids_of(self, lookups: Sequence[Lookup]) -> mx.sym.Symbol:
        """Return the part of the graph that makes the ids of some lookups, of which all or none are kept values.

        A cast of values as they are makes whole numbers of others: without it they are seen.
        """
        return self._part([lookup.head for lookup in lookups], without_casts=lookups[0].is_kept)

    def is_told_by_extremes(self, lookup: Lookup, data: DataSet) -> bool:
        """Tell whether the extremes of the columns suffice to know that all ids are in the table."""
        columns = [self.columns[name] for name in lookup.inputs]
        if not lookup.is_kept or any(np.dtype(column.dtype).kind not in "iu" for column in columns):
            return False
        first, last = lookup.allowed
        ranges = [extremes(data, column.name) for column in columns]
        return all(low is not None and high is not None and first <= low and high <= last for low, high in ranges)

    def _part(self, heads: Sequence[Sequence[int]], without_casts: bool = False) -> mx.sym.Symbol:
        """Return what gives some outputs of nodes, which are told by place: a name may be there twice."""
        nodes = self.content["nodes"]
        if without_casts:
            wide = {"attrs": {"dtype": "float64"}}
            nodes = [{**node, **wide} if node["op"] in _CASTS else node for node in nodes]
        return mx.sym.load_json(json.dumps({**self.content, "nodes": nodes, "heads": list(heads)}))

    def _kept(self) -> set[int]:
        """Return the places of the nodes whose values are some of the columns' own."""
        kept: set[int] = set()
        for place, node in enumerate(self.content["nodes"]):
            is_wide = node["op"] in _CASTS and node["attrs"]["dtype"] in _WIDE
            is_kept = node["op"] in _KEEP or is_wide
            if node["name"] in self.columns or (is_kept and all(inner[0] in kept for inner in node["inputs"])):
                kept.add(place)
        return kept

    def _shape(self, head: Sequence[int]) -> Shape:
        part = self._part([head])
        shape: Shape = part.infer_shape(**{name: self.shapes[name] for name in part.list_arguments()})[1][0]
        return shape


def graphs(network: Network, spec: WorkerSpec) -> Iterator[Traced]:
    """Yield the graph of the network, and that of a loss of the user's where it has one."""
    parameters = network.block.collect_params().values()
    constants = {p.name: p.data() for p in parameters if isinstance(p, gluon.Constant) and p._data is not None}
    columns = dict(zip(input_names(len(spec.features)), spec.features))
    shapes = {**network.input_shapes, **{p.name: p.shape for p in network.parameters.values()}}
    owner = f"the network {spec.training.network.label}"
    yield Traced(owner, json.loads(network.symbol.tojson()), columns, shapes, constants)
    rows = next(iter(network.input_shapes.values()))[0]
    labels = {f"label{place}": label for place, label in enumerate(spec.labels)}
    graph = _graph_of_loss(network, list(labels)) if spec.training.loss.function is not None else None
    if graph is not None:
        shapes = {f"output{place}": shape for place, shape in enumerate(network.output_shapes)}
        shapes.update({name: (rows, *(label.shape or ())) for name, label in labels.items()})
        yield Traced(f"the loss {spec.training.loss.name}", json.loads(graph.tojson()), labels, shapes, {})


def _graph_of_loss(network: Network, labels: Sequence[str]) -> Optional[mx.sym.Symbol]:
    """Return the graph of a loss that is a block; None of any other: a plain function need not take symbols."""
    loss = network.loss
    if not isinstance(loss, gluon.HybridBlock) or type(loss).forward is not gluon.HybridBlock.forward:
        return None
    outputs = [mx.sym.var(f"output{place}") for place in range(len(network.output_shapes))]
    try:
        graph = loss(outputs[0] if len(outputs) == 1 else outputs, *map(mx.sym.var, labels))
    except Exception:  # what is wrong with it, the first step shows
        return None
    has_parameters = set(graph.list_inputs()) - set(labels) - {output.name for output in outputs}
    return None if has_parameters else graph
