"""Whether what a function of the user's gives for a row is made of that row alone, told by giving it other rows."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Callable, Optional

import mxnet as mx
import numpy as np
from mxnet import autograd

from mxspark.mx.loop.arrays import Array

_TOLERANCE = 1e-3  # the same numbers of the same rows: a mean over others is far off in one of several rows


class Made(Enum):
    """What the value of a row is made of."""

    UNKNOWN = "the rows at hand do not tell"
    OF_ITS_ROW = "that row alone, as far as can be told"
    AT_RANDOM = "random numbers, beside what else"
    OF_OTHERS = "other rows, too"


@dataclass(frozen=True)
class Mixed:
    """An output and a label that broadcast to a shape that neither has: (32, 1) with (32,) is (32, 32)."""

    output: Any
    label: Any
    shape: tuple[int, ...]

    @classmethod
    def of(cls, outputs: Any, labels: Any) -> Optional[Mixed]:
        """Return the first such pair; None where there is none."""
        for output, label in itertools.product(flatten(outputs), flatten(labels)):
            with contextlib.suppress(ValueError):
                shape = np.broadcast_shapes(output.shape, label.shape)
                if shape not in (output.shape, label.shape):
                    return cls(output, label, shape)
        return None

    def __str__(self) -> str:
        return (
            f"an output of shape {self.output.shape} and a label of shape {self.label.shape} broadcast to "
            f"{self.shape}, which pairs every row with every other"
        )


def flatten(outputs: Any) -> list[Any]:
    """Return the arrays of a network's output in order, however it is nested."""
    if isinstance(outputs, (list, tuple)):
        return [array for part in outputs for array in flatten(part)]
    return [outputs]


def made_of(function: Callable[[Any, Any], Any], outputs: Any, labels: Any) -> Made:
    """Return what `function(outputs, labels)` makes the values of each row of.

    Each half of the rows is replaced once, by one row of the other half, which is to keep its values. A function that
    raises for rows that are the same, or does not return an entry a row, tells nothing.

    Parameters
    ----------
    outputs, labels : NDArray or ndarray, or nested lists of them
        Their first axis is the rows.
    """
    mixed = Mixed.of(outputs, labels)
    rows = len(flatten(outputs)[0])
    if all(map(_is_constant, flatten(outputs))) or (mixed is not None and _is_constant(mixed.label)):
        return Made.UNKNOWN
    with contextlib.suppress(Exception), autograd.pause(train_mode=autograd.is_training()):
        first, again = (_values(function(outputs, labels), rows) for _ in range(2))
        if not np.array_equal(first, again, equal_nan=True):
            return Made.AT_RANDOM
        for order, kept in _halves(rows):
            other = _values(function(_each(outputs, order), _each(labels, order)), rows)
            if not _are_same(first[kept], other[kept]):
                return Made.OF_OTHERS
    return Made.OF_ITS_ROW


def depends_on(function: Callable[..., Any], arrays: Sequence[Any], place: int) -> bool:
    """Tell whether a function of some arrays depends on one of them, by giving it that with its rows turned around.

    One that raises for it, or whose array has one value in all rows, is taken to do so.
    """
    rows = len(arrays[place])
    turned = _each(arrays[place], np.arange(rows)[::-1])
    with contextlib.suppress(Exception), autograd.pause(train_mode=autograd.is_training()):
        if not np.array_equal(_numbers(turned), _numbers(arrays[place])):
            others = [turned if at == place else array for at, array in enumerate(arrays)]
            values, other = (_values(function(*some), rows) for some in (arrays, others))
            return not np.array_equal(values, other, equal_nan=True)  # a label may weigh little
    return True


def _halves(rows: int) -> Iterator[tuple[Array, slice]]:
    """Yield an order in which one row stands for a half, and which rows stay where they are."""
    places, middle = np.arange(rows), (rows + 1) // 2
    yield np.where(places < middle, places, 0), slice(0, middle)
    yield np.where(places < middle, rows - 1, places), slice(middle, rows)


def _each(arrays: Any, order: Array) -> Any:
    """Return arrays, nested as they are, with their rows in another order."""
    if isinstance(arrays, (list, tuple)):
        return [_each(part, order) for part in arrays]
    return arrays.take(mx.nd.array(order) if isinstance(arrays, mx.nd.NDArray) else order, axis=0)


def _values(returned: Any, rows: int) -> Array:
    """Return what each row has, shape (rows, n)."""
    return np.asarray(_numbers(returned), dtype=np.float64).reshape(rows, -1)


def _numbers(array: Any) -> Any:
    return array.asnumpy() if isinstance(array, mx.nd.NDArray) else array


def _is_constant(array: Any) -> bool:
    values = _numbers(array)
    return bool((values == values[:1]).all())


def _are_same(one: Array, other: Array) -> bool:
    return bool(np.allclose(one, other, rtol=_TOLERANCE, atol=1e-6, equal_nan=True))
