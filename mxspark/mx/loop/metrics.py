"""Metrics whose sums add up exactly, however rows are divided into ranks and batches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Callable, Optional

import mxnet as mx
import numpy as np
import numpy.typing as npt

from mxspark.errors import Diverged, InputError, TrainingCodeError
from mxspark.job.metric import LOSS, cannot_weigh, reported_names
from mxspark.job.spec import Component
from mxspark.mx.model.components import known, needs_two

Array = npt.NDArray[Any]
Arrays = Sequence[Array]
RowValues = Callable[[Any, Any], Any]

_FINISH: dict[str, Callable[[float], float]] = {"rmse": math.sqrt, "perplexity": math.exp}


class Metrics:
    """Sums of the loss and of every metric over the rows seen since the last reset.

    Parameters
    ----------
    components : sequence of Component
        Names of `catalog.METRICS`; or a function of the user, either ``(labels, outputs)`` → one value a row, on numpy
        arrays, or without required arguments and returning an ``mxnet.metric.EvalMetric``.
    weighed_by : str, optional
        The key of the job that weighs the rows: who cannot do so is refused.
    """

    def __init__(self, components: Sequence[Component], weighed_by: Optional[str] = None) -> None:
        self._metrics = [_RowMetric(c) if c.function is None else _user_metric(c, weighed_by) for c in components]
        self._names = reported_names(components)
        self._sums = np.zeros(2 + 2 * len(self._metrics))

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
        in_loss = weights if loss_weights is None else loss_weights
        self._sums[0] += _count(in_loss, len(loss))
        self._sums[1] += _sum(loss, in_loss)
        for place, metric in enumerate(self._metrics):
            total, count = metric.sums(outputs, labels, len(loss), weights)
            self._sums[2 + 2 * place] += total
            self._sums[3 + 2 * place] += count

    def sums(self) -> Array:
        """Return a copy of the sums: float64, shape ``(2 + 2 * metrics,)``: rows, loss, then sum and count of each.

        Of rows that are weighed it is the sum of the weights in place of their number.
        """
        return self._sums.copy()

    def reset(self, sums: Optional[Array] = None) -> None:
        """Start again from nothing, or from the `sums` of a resumed epoch."""
        self._sums[:] = 0 if sums is None else sums

    def finish(self, total: Array) -> dict[str, float]:
        """Turn sums, added up over ranks, into values.

        Returns
        -------
        dict of str to float
            ``loss`` and every metric by its name, a second of the same name as ``<name>_2``; nan where no row counted.
        """
        values = {"loss": _mean(total[1], total[0])}
        for place, metric in enumerate(self._metrics):
            mean = _mean(total[2 + 2 * place], total[3 + 2 * place])
            values[self._names[place]] = _finish(_FINISH.get(metric.name), mean)
        return values

    def without_value(self, total: Array, of: str) -> list[str]:
        """Return the names of metrics that have no value because no row counted; `of` says which rows, and when.

        Raises
        ------
        Diverged
            If a metric is not finite for another reason: a row of it is NaN or infinite.
        """
        values = self.finish(total)
        counts = dict(zip(self._names, total[3::2]))
        for name, value in values.items():
            if not math.isfinite(value) and counts.get(name, total[0]):
                raise Diverged(
                    f"{'the' if name == LOSS else 'metric'} {name} of {of} is {value}: make it give a finite number "
                    "for every row, or remove it from training.metrics"
                )
        return [name for name, value in values.items() if math.isnan(value)]


class _RowMetric:
    """The sum of one value a row."""

    def __init__(self, component: Component, values: Optional[RowValues] = None) -> None:
        self.name = component.name
        options = dict(component.options)
        self._output, self._label = options.pop("output", 0), options.pop("label", 0)
        self._given = values is not None
        self._options = {} if self._given else options
        self._values: Any = values or _VALUES[known("metric", component).target]

    def sums(self, outputs: Arrays, labels: Arrays, rows: int, weights: Optional[Array] = None) -> tuple[float, float]:
        """Return the sum over the rows and their number, or that of weight times value and that of the weights."""
        if self._given:
            values = np.asarray(self._values(_single(labels), _single(outputs)))
            if values.shape != (rows,):
                raise TrainingCodeError(
                    f"metric {self.name} returned shape {values.shape} for {rows} rows: return one value a row, shape "
                    f"({rows},), or an mxnet.metric.EvalMetric from a function without arguments"
                )
        else:
            label, output = _pick(self.name, labels, self._label), _pick(self.name, outputs, self._output)
            values = self._values(label, output, **self._options)
        return _sum(values, weights), _count(weights, rows)


class _EvalMetric:
    """The sums of an ``mxnet.metric.EvalMetric``, as it adds them itself."""

    def __init__(self, component: Component, metric: mx.metric.EvalMetric) -> None:
        self.name = component.name
        self._metric = metric

    def sums(self, outputs: Arrays, labels: Arrays, rows: int, weights: Optional[Array] = None) -> tuple[float, float]:
        """Return what the metric adds to its sum and its number of instances for these rows, which have no weights."""
        self._metric.reset()
        self._metric.update(*([mx.nd.array(a, dtype=a.dtype) for a in arrays] for arrays in (labels, outputs)))
        return float(self._metric.sum_metric), float(self._metric.num_inst)


def accuracy(label: Any, output: Any, axis: int = 1) -> Any:
    """One value a row: the part of it whose highest score is at the label."""
    if output.ndim < 2 or output.shape[axis] < 2:
        raise TrainingCodeError(
            f"metric accuracy needs an output with one score a class; this one has shape {output.shape}: use "
            "binary_accuracy"
        )
    return _row_mean(_same(label, output.argmax(axis), "accuracy"))


def top_k_accuracy(label: Any, output: Any, k: int) -> Any:
    """One value a row: 1 if the label is among the `k` highest scores."""
    if output.ndim != 2 or output.shape[1] < k:
        raise TrainingCodeError(
            f"metric top_k_accuracy needs an output with at least {k} scores a row; this one has shape {output.shape}: "
            "lower k"
        )
    best = np.argpartition(output, -k, axis=1)[:, -k:]
    return (best == label.reshape(-1, 1)).any(1)


def binary_accuracy(label: Any, output: Any, threshold: float = 0.0) -> Any:
    """One value a row: the part of it on the label's side of `threshold`: 0 for scores, 0.5 for probabilities."""
    return _row_mean(_same(label, output > threshold, "binary_accuracy"))


def cross_entropy(label: Any, output: Any, of: str = "scores") -> Any:
    """One value a row: minus the logarithm of the label's probability."""
    if output.ndim != 2:
        raise TrainingCodeError(
            f"metric cross_entropy needs one score a class and row; the output has shape {output.shape}: give a "
            "function of your own"
        )
    chosen = output[np.arange(len(output)), label.reshape(-1).astype(np.int64)].astype(np.float64)
    if of == "probabilities":
        return -np.log(np.maximum(chosen, 1e-12))
    if of == "log_probabilities":
        return -chosen
    highest = output.max(1)
    spread = np.exp((output - highest[:, None]).astype(np.float64)).sum(1)
    return np.log(spread) + highest - chosen


def mae(label: Any, output: Any) -> Any:
    """One value a row: the mean of the absolute differences."""
    return _row_mean(np.abs(_difference(label, output, "mae")))


def mse(label: Any, output: Any) -> Any:
    """One value a row: the mean of the squared differences."""
    return _row_mean(np.square(_difference(label, output, "mse")))


_VALUES = {
    "accuracy": accuracy,
    "top_k_accuracy": top_k_accuracy,
    "binary_accuracy": binary_accuracy,
    "cross_entropy": cross_entropy,
    "mae": mae,
    "mse": mse,
}


def _user_metric(component: Component, weighed_by: Optional[str]) -> Any:
    assert component.function is not None
    loaded = component.function.load()
    if needs_two(loaded):
        return _RowMetric(component, loaded)
    made = loaded(**component.options)
    if isinstance(made, mx.metric.EvalMetric):
        if weighed_by is not None:
            raise InputError(cannot_weigh(component.name, weighed_by))
        return _EvalMetric(component, made)
    if callable(made) and not isinstance(made, type):
        return _RowMetric(component, made)
    raise TrainingCodeError(
        f"metric {component.name}: {component.function.label} returned a {type(made).__name__}: give a function of "
        "(labels, outputs) with one value a row, or one without arguments that returns an mxnet.metric.EvalMetric"
    )


def _same(label: Any, guess: Any, name: str) -> Any:
    if label.size != guess.size:
        raise TrainingCodeError(_shapes(name, label, guess))
    return guess.reshape(len(guess), -1) == label.reshape(len(guess), -1)


def _difference(label: Any, output: Any, name: str) -> Any:
    if label.size != output.size:
        raise TrainingCodeError(_shapes(name, label, output))
    return output.reshape(len(output), -1).astype(np.float64) - label.reshape(len(output), -1)


def _shapes(name: str, label: Any, guess: Any) -> str:
    return (
        f"metric {name}: labels of shape {label.shape} do not fit predictions of shape {guess.shape}: choose the "
        "arrays with its options `label` and `output`, or use another metric"
    )


def _pick(name: str, arrays: Arrays, place: int) -> Any:
    if place < len(arrays):
        return arrays[place]
    raise TrainingCodeError(
        f"metric {name}: array {place} was asked for and there are {len(arrays)}, counted from 0: set its options "
        "`label` and `output` to arrays there are"
    )


def _row_mean(values: Any) -> Any:
    return values[:, 0] if values.shape[1] == 1 else values.mean(1, dtype=np.float64)


def _single(arrays: Arrays) -> Any:
    return arrays[0] if len(arrays) == 1 else arrays


def _sum(values: Any, weights: Optional[Array]) -> float:
    """Return the sum over rows, in float64."""
    return float(np.add.reduce(values if weights is None else values * weights, dtype=np.float64))


def _count(weights: Optional[Array], rows: int) -> float:
    return rows if weights is None else float(np.add.reduce(weights))


def _mean(total: float, count: float) -> float:
    return float(total / count) if count else math.nan


def _finish(function: Optional[Callable[[float], float]], value: float) -> float:
    if function is None or not math.isfinite(value):
        return value
    try:
        return function(value)
    except OverflowError:
        return math.inf
