"""Whether the rows of a batch are where they are cut, padded and counted: on the first axis of every output.

A shape alone does not tell: a sequence may be as long as a batch has rows. The graph is asked for the shapes of two
batches, one a row longer than the other; what has grown is the axis of the rows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Optional

import mxnet as mx

from mxspark.errors import InputError, TrainingCodeError

Shape = tuple[int, ...]

# Operators that go along an axis as along the steps of a sequence, and where they have it.
_STEPS: dict[str, Callable[[dict[str, str]], int]] = {
    "RNN": lambda options: 0,
    "SequenceMask": lambda options: int(options.get("axis", 0)),
    "SequenceLast": lambda options: int(options.get("axis", 0)),
    "SequenceReverse": lambda options: 0,
}
_LIKE = (
    "make arrays of as many rows by F.zeros_like, F.broadcast_like, F.contrib.arange_like or begin_state(batch_size=0)"
)
# Options that give an array its size, or a part of it.
_OF_SIZES = ("shape", "reps", "repeats", "start", "stop", "end")


def check(label: str, graph: mx.sym.Symbol, inputs: dict[str, Shape]) -> None:
    """Refuse a network whose outputs do not have one entry a row on their first axis.

    Parameters
    ----------
    label : str
        How the user calls the network.
    graph : Symbol
        The traced network.
    inputs : dict of str to tuple of int
        Shapes of one batch by the names of the graph's inputs, whose first axis is that of the rows.

    Raises
    ------
    TrainingCodeError
        Naming the output or the layer, its shape and what to do.
    """
    inside = graph.get_internals()
    rows = next(iter(inputs.values()))[0]
    batch = _shapes(inside, inputs)
    longer = _longer(label, inside, {name: (rows + 1, *shape[1:]) for name, shape in inputs.items()}, rows)
    for name, axis, shape in _sequences(inside, batch, longer):
        raise TrainingCodeError(
            f"the network {label} goes through the rows of a batch as through the steps of a sequence: layer {name} "
            f"takes an array of shape {shape} for {rows} rows, whose axis {axis} is its steps: give the layer "
            "layout='NTC', or swap the axes before it, F.swapaxes(x, 0, 1), and after it"
        )
    for place, name in enumerate(graph.list_outputs()):
        problem = _problem(batch[name], longer[name], rows, lambda: _where_written(inside, rows))
        if problem is not None:
            raise TrainingCodeError(
                f"output {place} of the network {label}, {name}, {problem[0]}, and rows are what is padded, validated "
                f"and counted, on the first axis: {problem[1]}"
            )


def _shapes(inside: mx.sym.Symbol, inputs: dict[str, Shape]) -> dict[str, Shape]:
    """Return the shape of every array of a graph by its name."""
    known = {name: shape for name, shape in inputs.items() if name in inside.list_inputs()}
    found = inside.infer_shape(**known)[1]
    return dict(zip(inside.list_outputs(), found))


def _longer(label: str, inside: mx.sym.Symbol, inputs: dict[str, Shape], rows: int) -> dict[str, Shape]:
    try:
        return _shapes(inside, inputs)
    except mx.MXNetError as error:
        raise TrainingCodeError(
            f"the network {label} takes batches of {rows} rows and not of {rows + 1}, as of another number of workers, "
            f"or of whoever uses the model: the number of rows is written into it{_where_written(inside, rows)}: write "
            f"0 or -1 in its place where it reshapes, and {_LIKE}\n{error}"
        ) from error


def _where_written(inside: mx.sym.Symbol, rows: int) -> str:
    """Return where the number of rows is written into a network, as far as that shows."""
    found = [
        f"{node['op']} {node['name']} ({key} {value})"
        for node in json.loads(inside.tojson())["nodes"]
        for key, value in node.get("attrs", {}).items()
        if key in _OF_SIZES and re.match(rf"[(\[]?{rows}\b", value)
    ]
    return f", in {', '.join(found)}" if found else ""


def _problem(batch: Shape, longer: Shape, rows: int, where: Callable[[], str]) -> Optional[tuple[str, str]]:
    """Return what is wrong with an output of two shapes, and what to do about it; None if its rows come first."""
    grown = [axis for axis, (one, other) in enumerate(zip(batch, longer)) if one != other]
    has_shape = f"has shape {batch} for {rows} rows"
    if grown == [0] and batch[0] == rows and longer[0] == rows + 1:
        return None
    if not grown and batch[0] == rows:
        return (
            f"{has_shape} and for {rows + 1} too{where()}",
            f"write 0 or -1 in place of {rows} where the network reshapes, and {_LIKE}",
        )
    if not grown or len(batch) != len(longer):
        return (
            f"{has_shape} and no axis that follows the rows",
            "return one entry a row, or leave it out of what the network returns",
        )
    if grown == [0]:
        return (
            f"{has_shape}, rows and others on one axis",
            f"reshape it with one entry a row, F.reshape(x, shape=(-1, {batch[0] // rows}, ...)), in the network, and "
            "let the loss follow",
        )
    if len(grown) > 1:
        return (
            f"{has_shape}, which follows the rows on axis {' and '.join(map(str, grown))}",
            "return one entry a row, or leave it out of what the network returns",
        )
    axis = grown[0]
    return (
        f"{has_shape}, with the rows on axis {axis}",
        f"put them first in the network, F.swapaxes(x, 0, {axis}), and let the loss follow",
    )


def _sequences(
    inside: mx.sym.Symbol, batch: dict[str, Shape], longer: dict[str, Shape]
) -> Iterator[tuple[str, int, Shape]]:
    """Yield each layer that takes the rows for steps: its name, the axis, and the shape of what it takes."""
    graph: dict[str, Any] = json.loads(inside.tojson())
    names = {tuple(head[:2]): name for head, name in zip(graph["heads"], inside.list_outputs())}
    for node in graph["nodes"]:
        axis_of = _STEPS.get(node["op"])
        if axis_of is None:
            continue
        axis = axis_of(node.get("attrs", {}))
        taken = names[tuple(node["inputs"][0][:2])]
        if batch[taken][axis] != longer[taken][axis]:
            yield node["name"], axis, batch[taken]


def refuse_rows(what: str, axis: int, output: Sequence[int]) -> None:
    """Refuse an option that names the axis of the rows, as -2 does of two axes, or none of the output's."""
    if not -len(output) <= axis < len(output):
        raise InputError(
            f"{what} has axis {axis}, but the output has shape {tuple(output)}: set it to that of the classes"
        )
    if axis % len(output) == 0:
        raise InputError(
            f"{what} has axis {axis}, which is that of the rows of an output of shape {tuple(output)}: set it to that "
            "of the classes"
        )
