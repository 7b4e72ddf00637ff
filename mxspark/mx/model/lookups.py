"""Where a graph looks up ids that follow from its inputs alone: MXNet takes those not in the table for others."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

import mxnet as mx

from mxspark.data.spool import ColumnSpec
from mxspark.mx.model.randomness import is_random

Shape = tuple[int, ...]
Range = tuple[int, float]
Options = Mapping[str, str]
# Node and output of a graph's JSON.
Head = Sequence[int]

# What hands values on as they are, or some of them: the extremes of a column bound what comes out.
_KEEP = frozenset(
    {"BlockGrad", "Concat", "Flatten", "Reshape", "SliceChannel", "SwapAxis", "_copy", "expand_dims", "slice"}
    | {"slice_axis", "slice_like", "squeeze", "stack", "transpose"}
)
_CASTS = ("Cast", "amp_cast")
_WIDE = ("int32", "int64", "float32", "float64")
# What `NDArray.astype` leaves in the record of a loss: a cast to a type that the record does not tell.
_UNKNOWN_CAST = "_copyto"


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


def _of_lengths(
    first: int, *, is_bounded: bool = True, option: str = "use_sequence_length", axis: int = 0
) -> Callable[[Options, Shape], Optional[Range]]:
    def allowed(options: Options, data: Shape) -> Optional[Range]:
        if options.get(option) not in ("True", "1"):
            return None
        return first, data[int(options.get("axis", axis))] if is_bounded else math.inf

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
    "SequenceLast": _Kind(1, _of_lengths(1), noun="lengths"),
    "SequenceReverse": _Kind(1, _of_lengths(0), noun="lengths"),
    "softmax": _Kind(1, _of_lengths(0, option="use_length", axis=-1), noun="lengths"),
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
    casts : tuple of sequence of int
        Of values as they are, on their way to the ids: what each takes, and after it what it gives.
    """

    name: str
    kind: _Kind
    head: Head
    inputs: tuple[str, ...]
    allowed: Range
    is_kept: bool
    casts: tuple[Head, ...] = ()

    @property
    def heads(self) -> tuple[Head, ...]:
        """All that is to be looked at."""
        return (self.head, *self.casts)


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
            ids = self.part([head])
            inputs = set(ids.list_inputs())
            columns = tuple(name for name in self.columns if name in inputs)
            if not columns or inputs - set(columns) - set(self.constants) or is_random(ids):
                continue
            table = self._shape(node["inputs"][0])
            allowed = None if table is None else kind.allowed(node.get("attrs", {}), table)
            if allowed is not None and self._has_types(ids):
                name, casts = f"{node['op']} {node['name']}", tuple(self._casts(head, kept))
                yield Lookup(name, kind, head, columns, allowed, head[0] in kept, casts)

    def part(self, heads: Sequence[Head]) -> mx.sym.Symbol:
        """Return what gives some outputs of nodes, which are told by place: a name may be there twice.

        Where it is not known what type a cast is to, values as they are stay so, and their fractions are seen; of what
        is computed it is taken to cut them.
        """
        nodes = self.content["nodes"]
        if any(node["op"] == _UNKNOWN_CAST for node in nodes):
            kept = self._kept()
            ops = {place: "_copy" if place in kept else "fix" for place in range(len(nodes))}
            nodes = [{**n, "op": ops[i]} if n["op"] == _UNKNOWN_CAST else n for i, n in enumerate(nodes)]
        return mx.sym.load_json(json.dumps({**self.content, "nodes": nodes, "heads": list(heads)}))

    def _casts(self, head: Head, kept: set[int]) -> Iterator[Head]:
        """Yield what goes into and comes out of each cast of kept values that the ids depend on."""
        behind, left = set(), [head[0]]
        while left:
            place = left.pop()
            if place not in behind:
                behind.add(place)
                left += [inner[0] for inner in self.content["nodes"][place]["inputs"]]
        for place in sorted(behind):
            node = self.content["nodes"][place]
            if node["op"] in _CASTS and node["inputs"][0][0] in kept:
                yield node["inputs"][0]
                yield [place, 0, 0]

    def _kept(self) -> set[int]:
        """Return the places of the nodes whose values are some of the columns' own."""
        kept: set[int] = set()
        for place, node in enumerate(self.content["nodes"]):
            is_wide = node["op"] in _CASTS and node["attrs"]["dtype"] in _WIDE
            is_kept = node["op"] in _KEEP or node["op"] == _UNKNOWN_CAST or is_wide
            if node["name"] in self.columns or (is_kept and all(inner[0] in kept for inner in node["inputs"])):
                kept.add(place)
        return kept

    def _has_types(self, ids: mx.sym.Symbol) -> bool:
        """Tell whether ids can be worked out by themselves: an unknown cast may have made types fit."""
        known = {name: column.dtype for name, column in self.columns.items()}
        known.update({name: constant.dtype for name, constant in self.constants.items()})
        try:
            ids.infer_type(**{name: known[name] for name in ids.list_arguments()})
        except mx.MXNetError:
            return False
        return True

    def _shape(self, head: Head) -> Optional[Shape]:
        """Return the shape of an output; None where it depends on an array that a loss of the user's has made."""
        part = self.part([head])
        known = {name: self.shapes[name] for name in part.list_arguments() if name in self.shapes}
        shape: Shape = part.infer_shape_partial(**known)[1][0]
        return shape if shape and all(shape) else None
