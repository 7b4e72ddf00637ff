"""Metrics from means and squared distances to them: r2 and pearson.

Sums of squares would lose the digits of numbers far from 0. Each part of the rows has its own mean instead, and two
parts are merged (Chan, Golub, LeVeque 1979), so that the division of rows changes the last digits of float64 only.
"""

from __future__ import annotations

import math

import numpy as np

from mxspark.errors import InputError
from mxspark.job.spec import Component
from mxspark.mx.loop.arrays import Array, Arrays, Chosen, Shapes, pick, require_same_size

# Values that differ by less, relative to their mean, are one value that was rounded.
_ROUNDING = 8 * float(np.finfo(np.float64).eps)


class R2:
    """The coefficient of determination; of several targets the mean of theirs, as in scikit-learn.

    The state of a target: rows, weight, mean and squared distances of the label, and squared errors.
    """

    def __init__(self, component: Component, shapes: Shapes) -> None:
        self.name = component.name
        self._chosen = Chosen.of(component)
        self.width = 5 * math.prod(pick(self.name, shapes.labels, self._chosen.label))

    def sums(self, outputs: Arrays, labels: Arrays, weights: Array) -> Array:
        """Return the state of some rows: float64, shape (width,)."""
        label, output = _both(self.name, *self._chosen.arrays(outputs, labels))
        weight = weights.sum()
        mean = _mean(label, weights)
        state = np.empty((5, label.shape[1]))
        state[0] = len(label)
        state[1] = weight
        state[2] = mean
        state[3] = weights @ np.square(label - mean)
        state[4] = weights @ np.square(label - output)
        return state.ravel()

    def merge(self, one: Array, other: Array) -> Array:
        """Return the state of the rows of both."""
        a, b = one.reshape(5, -1), other.reshape(5, -1)
        merged: Array = a + b
        share = _share(a[1], b[1])
        apart = b[2] - a[2]
        merged[2] = a[2] + apart * share
        merged[3] += np.square(apart) * a[1] * share
        return merged.ravel()

    def values(self, total: Array) -> dict[str, float]:
        """Return the value; nan for less than two rows, and 1 or 0 where a target is one value."""
        rows, weight, mean, spread, errors = total.reshape(5, -1)
        if rows[0] < 2 or not weight[0]:
            return {"": math.nan}
        is_constant = _is_constant(weight, mean, spread)
        explained = 1 - errors / np.where(is_constant, 1, spread)
        return {"": float(np.mean(np.where(is_constant, errors == 0, explained)))}


class Pearson:
    """The correlation of an output and a label of one value a row.

    The state: weight, the two means, their squared distances, and the products of the distances.
    """

    width = 6

    def __init__(self, component: Component, shapes: Shapes) -> None:
        self.name = component.name
        self._chosen = Chosen.of(component)
        shape = self._chosen.shape(shapes)
        if math.prod(shape) != 1:
            raise InputError(
                f"metric pearson needs one value a row; a row of this output has shape {shape}: choose another with "
                "its option `output`, or use r2"
            )

    def sums(self, outputs: Arrays, labels: Arrays, weights: Array) -> Array:
        """Return the state of some rows: float64, shape (6,)."""
        label, output = _both(self.name, *self._chosen.arrays(outputs, labels))
        pairs = np.concatenate([label, output], axis=1)
        mean = _mean(pairs, weights)
        apart = pairs - mean
        products = (apart * weights[:, None]).T @ apart
        return np.array([weights.sum(), *mean, products[0, 0], products[1, 1], products[0, 1]])

    def merge(self, one: Array, other: Array) -> Array:
        """Return the state of the rows of both."""
        merged: Array = one + other
        share = _share(one[0], other[0])
        apart = other[1:3] - one[1:3]
        merged[1:3] = one[1:3] + apart * share
        merged[3:5] += np.square(apart) * one[0] * share
        merged[5] += apart[0] * apart[1] * one[0] * share
        return merged

    def values(self, total: Array) -> dict[str, float]:
        """Return the value; nan where label or output is one value."""
        spreads = total[3:5]
        if not total[0] or _is_constant(total[0], total[1:3], spreads).any():
            return {"": math.nan}
        value = total[5] / math.sqrt(spreads[0]) / math.sqrt(spreads[1])
        return {"": float(min(1.0, max(-1.0, value)))}


def _both(name: str, label: Array, output: Array) -> tuple[Array, Array]:
    """Return label and output as float64, shape (n, values of a row)."""
    require_same_size(name, label, output)
    rows = len(label)
    return label.reshape(rows, -1).astype(np.float64), output.reshape(rows, -1).astype(np.float64)


def _mean(values: Array, weights: Array) -> Array:
    """Return the weighted mean of each column; 0 where nothing weighs."""
    weight = weights.sum()
    if not weight:
        return np.zeros(values.shape[1])
    mean: Array = weights @ values / weight
    correction: Array = weights @ (values - mean) / weight
    return mean + correction


def _share(one: Array, other: Array) -> Array:
    """Return the share of the second weight in both, 0 where there is none."""
    both = np.asarray(one + other)
    return np.divide(other, both, out=np.zeros_like(both), where=both > 0)


def _is_constant(weight: Array, mean: Array, spread: Array) -> Array:
    is_constant: Array = spread <= weight * np.square(_ROUNDING * mean)
    return is_constant
