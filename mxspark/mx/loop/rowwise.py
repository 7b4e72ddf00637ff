"""Whether a loss is one value a row, made of that row alone: shapes that broadcast make it one of all rows."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Callable, Optional

import mxnet as mx
import numpy as np
from mxnet import autograd

from mxspark.errors import TrainingCodeError

_LOOKED_AT = 8
_TOLERANCE = 1e-2  # of float16 too; a mean over other rows is far off in one of several rows


def flatten(outputs: Any) -> list[mx.nd.NDArray]:
    """Return the arrays of a network's output in order, however it is nested."""
    if isinstance(outputs, (list, tuple)):
        return [array for part in outputs for array in flatten(part)]
    return [outputs]


@dataclass(frozen=True)
class Mixed:
    """An output and a label that broadcast to a shape that neither has: (32, 1) with (32,) is (32, 32)."""

    output: mx.nd.NDArray
    label: mx.nd.NDArray
    shape: tuple[int, ...]

    @classmethod
    def of(cls, outputs: Any, labels: Sequence[mx.nd.NDArray]) -> Optional[Mixed]:
        """Return the first such pair; None where there is none."""
        for output, label in itertools.product(flatten(outputs), labels):
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


def require_one_value_a_row(losses: Any, outputs: Any, labels: Sequence[mx.nd.NDArray], rows: int) -> None:
    """Raise TrainingCodeError if a loss has not the shape (rows,)."""
    shape = losses.shape if isinstance(losses, mx.nd.NDArray) else None
    if shape == (rows,):
        return
    seen = f"a {type(losses).__name__}" if shape is None else f"shape {shape}"
    mixed = Mixed.of(outputs, labels)
    if mixed is not None and mixed.shape == shape:
        raise TrainingCodeError(
            f"the loss gave {seen} for {rows} rows: {mixed}; write label.reshape(output.shape) in the loss, before "
            "anything else is done with the label"
        )
    raise TrainingCodeError(
        f"the loss gave {seen} for {rows} rows, where one value a row, shape ({rows},), is needed to tell "
        "apart rows that only pad a batch: reduce over every axis but the first"
    )


class RowwiseLoss:
    """A loss of the user's that is found out in the first steps if it mixes rows, where its shapes let it.

    A mean over the wrong axis of a broadcast has the shape of one value a row, and trains another model. What the loss
    gives for single rows must be what it gives for them among the others.

    Parameters
    ----------
    loss : callable
        From (output, *labels) to one value a row.
    """

    def __init__(self, loss: Callable[..., Any]) -> None:
        self._loss = loss
        self._is_open = True

    def __call__(self, outputs: Any, *labels: mx.nd.NDArray) -> Any:
        """Return what the loss gives.

        Raises
        ------
        TrainingCodeError
            If that is made of several rows.
        """
        losses = self._loss(outputs, *labels)
        if self._is_open and isinstance(losses, mx.nd.NDArray) and losses.ndim == 1:
            self._look(outputs, labels, losses)
        return losses

    def _look(self, outputs: Any, labels: Sequence[mx.nd.NDArray], losses: mx.nd.NDArray) -> None:
        mixed = Mixed.of(outputs, labels)
        if mixed is not None and _is_constant(mixed.label.asnumpy()):
            return  # equal labels hide it, and do no harm: the next step may tell
        self._is_open = False
        if mixed is None:
            return
        alone = np.array([self._alone(outputs, labels, row) for row in range(min(_LOOKED_AT, len(losses)))])
        among = losses.asnumpy()[: len(alone)]
        known = ~np.isnan(alone)
        if not np.allclose(alone[known], among[known], rtol=_TOLERANCE, atol=1e-6):
            raise TrainingCodeError(
                f"the loss of a row depends on other rows: {mixed}; write label.reshape(output.shape) in the loss, "
                "before anything else is done with the label"
            )

    def _alone(self, outputs: Any, labels: Sequence[mx.nd.NDArray], row: int) -> float:
        """Return the loss of one row by itself; NaN where it does not give one value."""
        with contextlib.suppress(Exception), autograd.pause():  # it need not take single rows
            value = self._loss(_row(outputs, row), *(_row(label, row) for label in labels))
            return float(value.asnumpy().item())
        return math.nan


def _is_constant(label: Any) -> bool:
    return bool((label == label[:1]).all())


def _row(arrays: Any, row: int) -> Any:
    """Return one row of arrays, nested as they are."""
    if isinstance(arrays, (list, tuple)):
        return [_row(part, row) for part in arrays]
    return arrays[row : row + 1]
