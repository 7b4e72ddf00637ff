"""Which arrays of a batch a metric looks at, and what shape they must have."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from mxspark.errors import InputError
from mxspark.job import ends
from mxspark.job.ends import End
from mxspark.job.label_shapes import are_in_one_order
from mxspark.job.spec import Component

Array = npt.NDArray[Any]
Arrays = Sequence[Array]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Shapes:
    """What one row of each output of the network and of each label is, in order, and what the outputs come out of."""

    outputs: tuple[Shape, ...] = ()
    labels: tuple[Shape, ...] = ()
    ends: tuple[Optional[End], ...] = ()

    def end(self, output: int) -> Optional[End]:
        """Return the layer that an output comes out of; None where that is not known."""
        return self.ends[output] if output < len(self.ends) else None

    @property
    def values(self) -> int:
        """How many numbers they are in all."""
        return sum(math.prod(shape) for shape in (*self.outputs, *self.labels))


@dataclass(frozen=True)
class Chosen:
    """The output and the label that a metric compares."""

    metric: str
    output: int
    label: int

    @classmethod
    def of(cls, component: Component) -> Chosen:
        """Read the options of a metric."""
        return cls(component.name, component.options.get("output", 0), component.options.get("label", 0))

    def arrays(self, outputs: Arrays, labels: Arrays) -> tuple[Array, Array]:
        """Return the label and the output, each of shape (n, …)."""
        return pick(self.metric, labels, self.label), pick(self.metric, outputs, self.output)

    def shape(self, shapes: Shapes) -> Shape:
        """Return what one row of the output is, where the label has one value a row."""
        label: Shape = pick(self.metric, shapes.labels, self.label)
        output: Shape = pick(self.metric, shapes.outputs, self.output)
        if math.prod(label) != 1:
            raise InputError(
                f"metric {self.metric} needs one label a row; this one has shape {label}: choose another array with "
                "its options `label` and `output`, or give a function (labels, outputs) of one value a row"
            )
        return output

    def classes(self, shapes: Shapes) -> int:
        """Return the number of scores a row: 1, or one a class."""
        shape = self.shape(shapes)
        if math.prod(shape) == 1:
            return 1
        if len(shape) == 1:
            return shape[0]
        raise InputError(
            f"metric {self.metric} needs one score a row, or one a class; a row of this output has shape {shape}: "
            "choose another with its option `output`, or give a function (labels, outputs) of one value a row"
        )


def pick(name: str, arrays: Sequence[Any], place: int) -> Any:
    """Return the array a metric asks for."""
    if place < len(arrays):
        return arrays[place]
    raise InputError(
        f"metric {name}: array {place} was asked for and there are {len(arrays)}, counted from 0: set its options "
        "`label` and `output` to arrays there are"
    )


def require_same_size(name: str, label: Array, guess: Array) -> None:
    """Refuse labels and predictions that a metric cannot compare one by one: numpy would broadcast them."""
    if label.size != guess.size:
        raise InputError(
            f"metric {name}: labels of shape {label.shape} do not fit predictions of shape {guess.shape}: choose the "
            "arrays with its options `label` and `output`, or use another metric"
        )
    if not are_in_one_order(label.shape[1:], guess.shape[1:]):
        raise InputError(
            f"metric {name}: labels of shape {label.shape} have the values of predictions of shape {guess.shape} in "
            "another order of axes, and one would be read in that of the other: transpose one of them, in the network "
            "or in the data, or give a function (labels, outputs) of one value a row"
        )


def require_declared(name: str, of: Optional[str], output: Array) -> None:
    """Refuse an output of values that the option `of` of a metric rules out: a number would come of them."""
    problem = None if of is None or not output.size else ends.metric_beyond(name, of, output.min(), output.max())
    if problem is not None:
        raise InputError(problem)


def class_indices(name: str, label: Array, classes: int) -> Array:
    """Return labels of one value a row as int64, shape (n,); 1 score a row stands for the classes 0 and 1.

    Of two classes the labels may be -1 and 1, as a hinge has them; 0 beside -1 is refused where all rows are known.
    """
    if label.size != len(label):
        raise InputError(
            f"metric {name} takes one label a row, and these have shape {label.shape}: choose another array with its "
            "option `label`, or give a function (labels, outputs) of one value a row"
        )
    flat = label.reshape(len(label))
    if max(classes, 2) == 2:
        flat = np.where(flat == -1, 0, flat)
    require_classes(name, flat, classes)
    indices: Array = flat.astype(np.int64)
    return indices


def require_classes(name: str, label: Array, classes: int) -> None:
    """Refuse labels, of any shape, that are no classes of an output."""
    count = max(classes, 2)
    if not label.size or (label.min() >= 0 and label.max() < count and (label.astype(np.int64) == label).all()):
        return
    raise InputError(
        f"metric {name} takes labels from 0 to {count - 1} for an output of {classes} score"
        f"{'s' if classes > 1 else ''} a row; here they go from {label.min():g} to {label.max():g}: map the labels to "
        "that, or give the network as many outputs as there are classes"
    )
