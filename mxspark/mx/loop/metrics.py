"""Metrics over all rows of all ranks, however rows are divided: from sums, or from all rows of validation at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Callable, Optional, Protocol, Union, runtime_checkable

import mxnet as mx
import numpy as np

from mxspark.errors import Diverged, InputError, TrainingCodeError
from mxspark.job import ends, parameter_words
from mxspark.job.metric import LOSS, NOTHING, cannot_weigh, reported_names
from mxspark.job.signatures import Takes
from mxspark.job.spec import Component
from mxspark.mx.loop import eval_metrics
from mxspark.mx.loop.arrays import Array, Arrays, Chosen, Shapes
from mxspark.mx.loop.confusion import Confusion
from mxspark.mx.loop.eval_metrics import MetricOfAll, StreamedMetric
from mxspark.mx.loop.moments import R2, Pearson
from mxspark.mx.loop.ranking import Ranking
from mxspark.mx.loop.row_metric import RowMetric, mean
from mxspark.mx.model.components import known, load, needs_two

# Why a metric has no value.
NO_ROW = "it counted none of them"
NOT_DEFINED = "it is not defined for them"
TOO_LARGE = "it is beyond the largest number there is"


@runtime_checkable
class Summed(Protocol):
    """A metric that is worked out from sums over rows.

    Attributes
    ----------
    width : int
        How many numbers the sums are.
    """

    name: str
    width: int

    def sums(self, outputs: Arrays, labels: Arrays, weights: Array) -> Array:
        """Return the sums over some rows, of which there is one at least: float64, shape (width,)."""

    def merge(self, one: Array, other: Array) -> Array:
        """Return the sums over the rows of both; zeros are those of no row."""

    def values(self, total: Array) -> dict[str, float]:
        """Return the values by what follows the metric's name in their own; nan where no row counted."""


@runtime_checkable
class Whole(Protocol):
    """A metric that is worked out from all rows at once.

    Attributes
    ----------
    width : int
        How many numbers of each row it needs.
    """

    name: str
    width: int

    def rows(self, outputs: Arrays, labels: Arrays, weights: Array) -> Array:
        """Return what it needs of some rows: float64, shape (n, width)."""

    def value(self, rows: Array, types: Sequence[str]) -> float:
        """Return the value over all rows, in their order; `types` are those of the outputs and labels."""


class Metrics:
    """Sums of the loss and of every metric over the rows seen since the last reset.

    Parameters
    ----------
    components : sequence of Component
        Names of `catalog.METRICS`; or a function of the user, either ``(labels, outputs)`` → one value a row, on numpy
        arrays, or without required arguments and returning an ``mxnet.metric.EvalMetric``.
    shapes : Shapes
        What a row of each output and label is.
    weighed_by : str, optional
        The key of the job that weighs the rows: who cannot do so is refused.

    Attributes
    ----------
    whole : dict of str to Whole
        Those that need all rows at once and are not summed here, by their reported names.
    """

    def __init__(
        self, components: Sequence[Component], shapes: Optional[Shapes] = None, weighed_by: Optional[str] = None
    ) -> None:
        made = [_build(component, shapes or Shapes(), weighed_by) for component in components]
        named = dict(zip(reported_names(components), made))
        self.whole = {name: one for name, one in named.items() if isinstance(one, Whole)}
        self._metrics = {name: one for name, one in named.items() if isinstance(one, Summed)}
        ends = np.cumsum([2, *(metric.width for metric in self._metrics.values())])
        self._places = [slice(start, end) for start, end in zip(ends, ends[1:])]
        self._sums = np.zeros(ends[-1])

    def add(
        self,
        loss: Array,
        outputs: Arrays,
        labels: Arrays,
        weights: Optional[Array] = None,
        loss_weights: Optional[Array] = None,
    ) -> None:
        """Count rows.

        Parameters
        ----------
        loss : ndarray, shape (n,)
            One value a row; rows that only pad a batch are left out here and below.
        outputs, labels : list of ndarray, each of shape (n, …)
            What the network gave, and what it should have.
        weights : ndarray, shape (n,), optional
            What each row counts; without them each counts 1.
        loss_weights : ndarray, shape (n,), optional
            What it counts in the loss, where that is something else.

        Raises
        ------
        TrainingCodeError
            If a metric does not fit the shapes.
        """
        if len(loss) == 0:
            return
        counted = np.ones(len(loss)) if weights is None else weights
        in_loss = counted if loss_weights is None else loss_weights
        self._sums[0] += in_loss.sum()
        self._sums[1] += np.add.reduce(loss * in_loss)
        for metric, place in zip(self._metrics.values(), self._places):
            self._sums[place] = metric.merge(self._sums[place], metric.sums(outputs, labels, counted))

    def sums(self) -> Array:
        """Return a copy of the sums: float64, shape (n,): rows, loss, then those of each metric.

        Of rows that are weighed it is the sum of the weights in place of their number.
        """
        return self._sums.copy()

    def reset(self, sums: Optional[Array] = None) -> None:
        """Start again from nothing, or from the `sums` of a resumed epoch."""
        self._sums[:] = 0 if sums is None else sums

    def merge(self, table: Array) -> Array:
        """Return the sums over the rows of all parts, shape (parts, n), merged in their order."""
        total = np.zeros_like(self._sums)
        for part in table:
            total[:2] += part[:2]
            for metric, place in zip(self._metrics.values(), self._places):
                total[place] = metric.merge(total[place], part[place])
        return total

    def finish(self, total: Array) -> dict[str, float]:
        """Turn sums, merged over ranks, into values.

        Returns
        -------
        dict of str to float
            ``loss`` and every metric by its name, a second of the same name as ``<name>_2``; nan where no row counted.
        """
        values = {"loss": mean(total[1], total[0])}
        for (name, metric), place in zip(self._metrics.items(), self._places):
            values.update({name + part: value for part, value in metric.values(total[place]).items()})
        return values

    def without_value(self, total: Array, of: str) -> dict[str, str]:
        """Return why metrics have no value, by their names; `of` says which rows, and when.

        Raises
        ------
        Diverged
            If a metric is not finite for another reason: a row of it is NaN or infinite.
        """
        require_finite(LOSS, mean(total[1], total[0]), total[:2], of)
        without = {} if total[0] else {LOSS: NO_ROW}
        for (name, metric), place in zip(self._metrics.items(), self._places):
            for part, value in metric.values(total[place]).items():
                require_finite(name + part, value, total[place], of)
                if not math.isfinite(value):
                    without[name + part] = why_not(value) if total[place].any() else NO_ROW
        return without

    @property
    def directions(self) -> dict[str, str]:
        """Which direction of a metric is better, by its reported name, where the class that a function made knows."""
        every = {**self._metrics, **self.whole}
        known = {name: one.better for name, one in every.items() if isinstance(one, (StreamedMetric, MetricOfAll))}
        return {name: better for name, better in known.items() if better is not None}


def require_finite(name: str, value: float, of_rows: Array, of: str) -> None:
    """Refuse a metric that is not finite, unless what came of each row is.

    It is not defined for the rows there are then, as the auc of one class, or too large, as the exponential of a loss.

    Raises
    ------
    Diverged
        If what came of a row is not finite; `of` says which rows, and when.
    """
    if math.isfinite(value) or np.isfinite(of_rows).all():
        return
    raise Diverged(
        f"{'the' if name == LOSS else 'metric'} {name} of {of} is {value}: make it give a finite number for every row, "
        "or remove it from training.metrics"
    )


def why_not(value: float) -> str:
    """Return why a metric of finite rows has no value, which is nan or infinite."""
    return NOT_DEFINED if math.isnan(value) else TOO_LARGE


_OF_SHAPES: dict[str, Callable[[Component, Shapes], Union[Summed, Whole]]] = {
    "f1": Confusion,
    "precision": Confusion,
    "recall": Confusion,
    "confusion": Confusion,
    "r2": R2,
    "pearson": Pearson,
    "auc": Ranking,
    "pr_auc": Ranking,
}


def _refuse_end(component: Component, shapes: Shapes) -> None:
    output = Chosen.of(component).output
    values = math.prod(shapes.outputs[output]) if output < len(shapes.outputs) else 0
    problem = ends.metric_refusal(component, shapes.end(output), values)
    if problem is not None:
        raise InputError(problem)


def _refuse_swapped(component: Component, function: Callable[..., object]) -> None:
    """Refuse what a function of the user's has made, if its parameters say that it takes outputs first."""
    takes = Takes.of(component.name, function)
    swapped = None if takes is None else parameter_words.swapped("metric", takes.required)
    if swapped is not None:
        raise TrainingCodeError(f"metric {component.name}: what it returned {swapped}")


def _build(component: Component, shapes: Shapes, weighed_by: Optional[str]) -> Union[Summed, Whole]:
    """Return the metric of a component."""
    if component.function is None:
        known("metric", component)
        _refuse_end(component, shapes)
        made = _OF_SHAPES.get(component.name)
        return RowMetric(component) if made is None else made(component, shapes)
    loaded = load("metric", component.function)
    if needs_two(loaded):
        return RowMetric(component, loaded)
    given = loaded(**component.options)
    if isinstance(given, mx.metric.EvalMetric):
        if weighed_by is not None:
            raise InputError(cannot_weigh(component.name, weighed_by))
        eval_metrics.refuse_composite(component, given)
        eval_metrics.refuse_end(given, shapes.end(0))
        _refuse_swapped(component, getattr(given, "_feval", given.update))  # of a CustomMetric what it was given
        is_whole = eval_metrics.adds_up(given) == NOTHING
        return MetricOfAll(component, given, shapes) if is_whole else StreamedMetric(component, given)
    if callable(given) and not isinstance(given, type):
        _refuse_swapped(component, given)
        return RowMetric(component, given)
    raise TrainingCodeError(
        f"metric {component.name}: {component.function.label} returned a {type(given).__name__}: give a function of "
        "(labels, outputs) with one value a row, or one without arguments that returns an mxnet.metric.EvalMetric"
    )
