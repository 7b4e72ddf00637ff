"""The metrics of ``mxnet.metric``, and the user's own of that kind, made exact over all rows.

They are made for one process that sees all batches, and most of them average over batches in one way or another. Those
known to add up a value a row are streamed; any other is updated once, with all validation rows.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from typing import Any, Optional

import mxnet as mx
import numpy as np

from mxspark.errors import InputError, TrainingCodeError
from mxspark.job import ends
from mxspark.job.ends import End
from mxspark.job.metric import BATCH_MEANS, NOTHING, OF_MXNET, OfMXNet
from mxspark.job.spec import Component
from mxspark.mx.loop import mxnet_metrics
from mxspark.mx.loop.arrays import Array, Arrays, Shapes
from mxspark.mx.loop.other_rows import Mixed

_LOOKED_AT = 64
# What a metric is given to find out whether it broadcasts: arrays as they are, flat, and as columns.
_SHAPES = (None, (-1,), (-1, 1))
_TOLERANCE = 1e-4


def adds_up(metric: mx.metric.EvalMetric) -> str:
    """Return what a metric's updates add up; nothing is known of a class of the user's, though derived from MXNet's."""
    known = _known(metric)
    return NOTHING if known is None else known.adds_up


def direction(metric: mx.metric.EvalMetric) -> Optional[str]:
    """Return ``max`` or ``min``, whichever is better; None where only the user knows."""
    known = _known(metric)
    return None if known is None else known.better


def _known(metric: mx.metric.EvalMetric) -> Optional[OfMXNet]:
    kind = type(metric)
    return OF_MXNET.get(kind.__name__) if kind.__module__ == mx.metric.__name__ else None


def refuse_end(metric: mx.metric.EvalMetric, end: Optional[End]) -> None:
    """Refuse a metric of MXNet's that would take what the network ends in for probabilities."""
    problem = ends.of_mxnet_refusal(type(metric).__name__, end) if _known(metric) is not None else None
    if problem is not None:
        raise InputError(problem)


def refuse_composite(component: Component, metric: mx.metric.EvalMetric) -> None:
    """Refuse a metric of several values, which have no names before they are there."""
    if isinstance(metric, mx.metric.CompositeEvalMetric):
        inside = ", ".join(type(each).__name__ for each in metric.metrics) or "nothing"
        raise TrainingCodeError(
            f"metric {component.name} is a CompositeEvalMetric of {inside}: give each of them to training.metrics by "
            "itself, as a function that returns it"
        )


class StreamedMetric:
    """A metric that adds up a value a row, or the mean of the rows it is given."""

    width = 2

    def __init__(self, component: Component, metric: mx.metric.EvalMetric) -> None:
        self.name = component.name
        self.better = direction(metric)
        self._metric = metric
        self._is_mean = adds_up(metric) == BATCH_MEANS

    def sums(self, outputs: Arrays, labels: Arrays, weights: Array) -> Array:
        """Return what the metric adds to its sum and its number of instances for these rows."""
        self._metric.reset()
        _update(self._metric, outputs, labels)
        sums = np.array([float(self._metric.sum_metric), float(self._metric.num_inst)])
        return sums * len(weights) if self._is_mean else sums

    def merge(self, one: Array, other: Array) -> Array:
        """Return the sums of both."""
        added: Array = one + other
        return added

    def values(self, total: Array) -> dict[str, float]:
        """Return what the metric itself makes of its sums."""
        self._metric.sum_metric = float(total[0])
        self._metric.num_inst = float(total[1])
        return {"": _value(self._metric)}


class MetricOfAll:
    """A metric that is updated once, with all rows of validation in their order.

    Parameters
    ----------
    shapes : Shapes
        What a row of each output and label is.
    """

    def __init__(self, component: Component, metric: mx.metric.EvalMetric, shapes: Shapes) -> None:
        self.name = component.name
        self.better = direction(metric)
        self.width = shapes.values
        self._metric = metric
        self._shapes = shapes
        self._is_looked_at = False

    def rows(self, outputs: Arrays, labels: Arrays, weights: Array) -> Array:
        """Return all numbers of each row: float64, shape (n, width)."""
        flat = [array.reshape(len(array), -1) for array in (*outputs, *labels)]
        every: Array = np.concatenate(flat, axis=1).astype(np.float64)
        return every

    def value(self, rows: Array, types: Sequence[str]) -> float:
        """Return the value over all rows."""
        if not self._is_looked_at and _known(self._metric) is None:
            self._look(*self._typed(rows[:_LOOKED_AT], types))
        self._is_looked_at = True
        return self._of(*self._typed(rows, types))

    def _of(self, outputs: Arrays, labels: Arrays) -> float:
        self._metric.reset()
        _update(self._metric, outputs, labels)
        return _value(self._metric)

    def _look(self, outputs: Arrays, labels: Arrays) -> None:
        """Refuse a metric that broadcasts: of flat rows and of columns it is one number, and another of one of each."""
        mixed = Mixed.of(outputs, labels)
        values = [math.nan] * 3
        if mixed is not None:
            with contextlib.suppress(Exception):  # it need not take other shapes
                values = [self._of(*(_reshaped(arrays, shape) for arrays in (outputs, labels))) for shape in _SHAPES]
        as_they_are, flat, column = values
        if math.isclose(flat, column, rel_tol=_TOLERANCE) and not math.isclose(flat, as_they_are, rel_tol=_TOLERANCE):
            raise TrainingCodeError(
                f"metric {self.name} depends on how rows are paired: {mixed}; write labels.reshape(outputs.shape) in "
                "its update, before anything else is done with the labels"
            )

    def _typed(self, rows: Array, types: Sequence[str]) -> tuple[list[Array], list[Array]]:
        """Return outputs and labels as the network and the data have them."""
        arrays = [part.astype(kind) for part, kind in zip(self._cut(rows), types)]
        count = len(self._shapes.outputs)
        return arrays[:count], arrays[count:]

    def _cut(self, rows: Array) -> list[Array]:
        """Return the outputs, then the labels."""
        shapes = (*self._shapes.outputs, *self._shapes.labels)
        ends = np.cumsum([int(np.prod(shape)) for shape in shapes])[:-1]
        parts = np.split(rows, ends, axis=1)
        return [part.reshape(-1, *shape) for part, shape in zip(parts, shapes)]


def _reshaped(arrays: Arrays, shape: Optional[tuple[int, ...]]) -> Arrays:
    """Return arrays, those of one value a row in another shape."""
    return [array.reshape(shape) if shape and array.size == len(array) else array for array in arrays]


def _update(metric: Any, outputs: Arrays, labels: Arrays) -> None:
    if _known(metric) is not None:
        for output, label in zip(outputs, labels):
            mxnet_metrics.require_fit(metric, label, output)
    metric.update(*([mx.nd.array(a, dtype=a.dtype) for a in arrays] for arrays in (labels, outputs)))


def _value(metric: Any) -> float:
    try:
        return float(metric.get()[1])
    except OverflowError:  # of the exponential of a large number
        return float("inf")
