"""Metrics of right and wrong classes, from counts: f1, precision, recall and the counts themselves.

The definitions are those of scikit-learn: what would be 0 / 0 is 0, and ``macro`` is over the classes that are in the
labels or in the predictions.
"""

from __future__ import annotations

import math

import numpy as np

from mxspark.errors import InputError
from mxspark.job.spec import Component
from mxspark.mx.loop.arrays import Array, Arrays, Chosen, Shapes, class_indices

# the columns of the counts of a class
TP, FP, FN, TN = range(4)


class Confusion:
    """Counts of true and false positives and negatives: of class 1, of one class against the others, or of each class.

    Parameters
    ----------
    component : Component
        ``f1``, ``precision``, ``recall`` or ``confusion``, with its options.
    shapes : Shapes
        How many scores a row the output has.
    """

    def __init__(self, component: Component, shapes: Shapes) -> None:
        self.name = component.name
        self._chosen = Chosen.of(component)
        self._classes = self._chosen.classes(shapes)
        self._threshold = component.options.get("threshold", 0.0)
        self._average = component.options.get("average")
        self._positive = component.options.get("class", 1)
        _check(component, self._classes)
        self.width = 4 * (self._classes if self._average else 1)

    def sums(self, outputs: Arrays, labels: Arrays, weights: Array) -> Array:
        """Return the weights of the rows in each place: float64, shape (width,)."""
        label, output = self._chosen.arrays(outputs, labels)
        actual = class_indices(self.name, label, self._classes)
        if self._average:
            return _of_each_class(actual, output.argmax(1), weights, self._classes).ravel()
        if self._classes == 1:
            positive = output.reshape(len(output)) > self._threshold
            return _of_one_class(actual == 1, positive, weights)
        return _of_one_class(actual == self._positive, output.argmax(1) == self._positive, weights)

    def merge(self, one: Array, other: Array) -> Array:
        """Return the sums of both."""
        added: Array = one + other
        return added

    def values(self, total: Array) -> dict[str, float]:
        """Return the value, by what follows the metric's name in its own; nan where no row counted."""
        counts = total.reshape(-1, 4)
        if self.name == "confusion":
            parts = counts[0] if total.any() else np.full(4, math.nan)
            return {f"_{part}": float(count) for part, count in zip(("tp", "fp", "fn", "tn"), parts)}
        if not total.any():
            return {"": math.nan}
        if self._average == "micro":
            counts = counts.sum(0, keepdims=True)
        present = counts[counts[:, :TN].any(1)]
        if not self._average or not len(present):
            return {"": float(_scores(self.name, counts[:1])[0])}
        support = present[:, TP] + present[:, FN] if self._average == "weighted" else np.ones(len(present))
        return {"": float(np.average(_scores(self.name, present), weights=support))}


def _check(component: Component, classes: int) -> None:
    name, options = component.name, component.options
    if classes > 1 and "threshold" in options:
        raise InputError(
            f"metric {name} has a threshold, which is for one score a row, and the output has {classes}, of which the "
            "highest counts: remove it"
        )
    if classes == 1 and {"average", "class"} & set(options):
        raise InputError(
            f"metric {name} has {'average' if 'average' in options else 'class'}, which is for one score a class, and "
            "the output has one a row: remove it, or set threshold where 0 is not where the classes part"
        )
    if classes > 2 and not {"average", "class"} & set(options):
        advice = "class" if name == "confusion" else "average: macro (or micro, weighted), or class"
        raise InputError(
            f"metric {name} is of one class, and the output has {classes}: set its option {advice} to say of which"
        )
    if options.get("class", 0) >= max(classes, 2):
        raise InputError(
            f"metric {name} is of class {options['class']}, and the output has {classes}, counted from 0: set one that "
            "is there"
        )


def _of_one_class(actual: Array, positive: Array, weights: Array) -> Array:
    # the place of a row: 0 true, 1 false positive, 2 false, 3 true negative
    places = np.where(positive, np.where(actual, TP, FP), np.where(actual, FN, TN))
    return np.bincount(places, weights, 4)


def _of_each_class(actual: Array, guess: Array, weights: Array, classes: int) -> Array:
    """Return the counts of each class: float64, shape (classes, 4); true negatives are not needed, and 0."""
    is_right = actual == guess
    wrong = ~is_right
    counts = np.zeros((classes, 4))
    counts[:, TP] = np.bincount(actual[is_right], weights[is_right], classes)
    counts[:, FP] = np.bincount(guess[wrong], weights[wrong], classes)
    counts[:, FN] = np.bincount(actual[wrong], weights[wrong], classes)
    return counts


def _scores(name: str, counts: Array) -> Array:
    """Return f1, precision or recall of each row of counts: shape (n,)."""
    right = counts[:, TP]
    wrong = {
        "precision": counts[:, FP],
        "recall": counts[:, FN],
        "f1": (counts[:, FP] + counts[:, FN]) / 2,
    }[name]
    return np.divide(right, right + wrong, out=np.zeros(len(counts)), where=right + wrong > 0)
