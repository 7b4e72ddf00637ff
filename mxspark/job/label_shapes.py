"""Whether a label has the shape that a named loss compares with the output of a network: MXNet would make it fit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Optional

from mxspark.data.spool import ColumnSpec
from mxspark.job.spec import Component


def problem(loss: Component, label: ColumnSpec, output: Sequence[int]) -> Optional[str]:
    """Return why a named loss cannot compare a label with an output of shape (rows, ...); None if it can.

    Axes of length 1 do not matter, and flat values are taken in the order of the other's axes. Where both have axes
    that are others, MXNet would read one in the order of the other.
    """
    if loss.function is not None or loss.name == "ctc" or label.shape is None:
        return None
    wanted = _wanted(loss, output)
    if math.prod(label.shape) != math.prod(wanted):
        return (
            f"label {label.name!r} has shape {list(label.shape)} in a row, but training.loss {loss.name} with a "
            f"network whose output is {list(output[1:])} in a row takes {list(wanted)}: {_outputs(loss, label.shape)}, "
            "or correct the label; several columns make one label as an array column, F.array('a', 'b')"
        )
    if are_in_one_order(label.shape, wanted):
        return None
    return (
        f"label {label.name!r} has shape {list(label.shape)} in a row where training.loss {loss.name} takes "
        f"{list(wanted)}, and MXNet would read the one in the order of the other: transpose one of them, or correct "
        f"data.label.{label.name}.shape"
    )


def outputs_problem(loss: Component, outputs: Sequence[Sequence[int]]) -> Optional[str]:
    """Return why a named loss cannot take so many outputs; None if it can."""
    if loss.function is not None or len(outputs) == 1:
        return None
    shapes = ", ".join(str(list(shape)) for shape in outputs)
    return (
        f"the network has {len(outputs)} outputs, of shape {shapes}, but training.loss {loss.name} takes one: give a "
        "function (outputs, label) that returns one value a row, or return one array from the network"
    )


def _outputs(loss: Component, label: Sequence[int]) -> str:
    """Return which output of the network goes with a label of this shape."""
    values = math.prod(label)
    if _looks_up(loss):
        each = "each class" if values == 1 else f"each class of each of the label's {values} values"
        return f"give the network one output for {each}"
    return f"give the network {values} output{'s' * (values != 1)} a row"


def _looks_up(loss: Component) -> bool:
    """Tell whether a label is the place of a class among the scores."""
    return loss.name == "softmax_cross_entropy" and bool(loss.options.get("sparse_label", True))


def _wanted(loss: Component, output: Sequence[int]) -> tuple[int, ...]:
    """Return the shape of a row's label."""
    shape = list(output)
    if _looks_up(loss):
        del shape[int(loss.options.get("axis", -1))]
    return tuple(shape[1:])


def are_in_one_order(one: Sequence[int], other: Sequence[int]) -> bool:
    """Tell whether arrays of as many values can be compared flat: one of two axes is not read in the order of another.

    >>> are_in_one_order((2, 3), (6, 1)), are_in_one_order((2, 3), (3, 2))
    (True, False)
    """
    axes, others = _long_axes(one), _long_axes(other)
    return axes == others or min(len(axes), len(others)) < 2


def _long_axes(shape: Sequence[int]) -> list[int]:
    return [length for length in shape if length != 1]
