"""A metric that is the mean of one value a row: a named one, or a function of the user's."""

from __future__ import annotations

import math
from typing import Any, Callable, Optional

import numpy as np

from mxspark.errors import TrainingCodeError
from mxspark.job.spec import Component
from mxspark.mx.loop.arrays import Array, Arrays, Chosen, require_declared
from mxspark.mx.loop.other_rows import Made, Mixed, made_of
from mxspark.mx.loop.row_values import VALUES
from mxspark.mx.model.components import known

RowValues = Callable[[Any, Any], Any]

_FINISH: dict[str, Callable[[float], float]] = {"rmse": math.sqrt, "perplexity": math.exp}


class RowMetric:
    """The sum of one value a row."""

    width = 2

    def __init__(self, component: Component, values: Optional[RowValues] = None) -> None:
        self.name = component.name
        self._chosen = Chosen.of(component)
        self._given = values is not None
        self._is_open = self._given
        options = {key: value for key, value in component.options.items() if key not in ("output", "label")}
        self._options = {} if self._given else options
        self._values: Any = values or VALUES[known("metric", component).target]

    def sums(self, outputs: Arrays, labels: Arrays, weights: Array) -> Array:
        """Return the sum of weight times value, and that of the weights."""
        rows = len(weights)
        if self._given:
            values = np.asarray(self._values(_single(labels), _single(outputs)))
            if values.shape != (rows,):
                raise TrainingCodeError(
                    f"metric {self.name} returned shape {values.shape} for {rows} rows: return one value a row, shape "
                    f"({rows},), or an mxnet.metric.EvalMetric from a function without arguments"
                )
            if self._is_open:
                self._look(outputs, labels)
        else:
            label, output = self._chosen.arrays(outputs, labels)
            require_declared(self.name, self._options.get("of"), output)
            values = self._values(label, output, **self._options)
        # a row of weight 0 counts for nothing, also where it has no value
        return np.array([np.add.reduce(np.where(weights == 0, 0, values) * weights), weights.sum()])

    def _look(self, outputs: Arrays, labels: Arrays) -> None:
        """Refuse a function whose value of a row depends on other rows: its mean would be one of how rows are divided.

        Raises
        ------
        TrainingCodeError
            Saying how, where shapes tell.
        """
        made = made_of(lambda some, others: self._values(_single(others), _single(some)), outputs, labels)
        self._is_open = made is Made.UNKNOWN
        if made is Made.OF_OTHERS:
            mixed = Mixed.of(outputs, labels)
            shapes = f": {mixed}; write labels.reshape(outputs.shape) in it" if mixed else ""
            raise TrainingCodeError(
                f"metric {self.name} gives a row a value that depends on other rows, and so is another number for "
                f"every batch size and number of workers{shapes}; make it of its row alone, or return an "
                "mxnet.metric.EvalMetric from a function without arguments, which gets all validation rows at once"
            )

    def merge(self, one: Array, other: Array) -> Array:
        """Return the sums of both."""
        added: Array = one + other
        return added

    def values(self, total: Array) -> dict[str, float]:
        """Return the mean, or what is made of it."""
        return {"": _finish(_FINISH.get(self.name), mean(total[0], total[1]))}


def _single(arrays: Arrays) -> Any:
    return arrays[0] if len(arrays) == 1 else arrays


def mean(total: float, count: float) -> float:
    """Return a mean from its sums; nan where nothing counted."""
    return float(total / count) if count else math.nan


def _finish(function: Optional[Callable[[float], float]], value: float) -> float:
    if function is None or not math.isfinite(value):
        return value
    try:
        return function(value)
    except OverflowError:
        return math.inf
