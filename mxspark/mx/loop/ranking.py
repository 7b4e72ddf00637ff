"""Metrics of how rows are ranked, from all scores at once: auc and pr_auc, as scikit-learn defines them.

Rows of one score are one step of the curve, whatever their order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from mxspark.errors import InputError
from mxspark.job.spec import Component
from mxspark.mx.loop.arrays import Array, Arrays, Chosen, Shapes, class_indices, require_declared
from mxspark.mx.loop.probabilities import score_of


class Ranking:
    """The area under the ROC curve, or the average precision, of class 1 or of one class against the others."""

    width = 3  # is it of the class, its score, its weight

    def __init__(self, component: Component, shapes: Shapes) -> None:
        self.name = component.name
        self._chosen = Chosen.of(component)
        self._classes = self._chosen.classes(shapes)
        self._of = component.options.get("of", "scores")
        self._positive = component.options.get("class", 1)
        _check(component, self._classes)

    def rows(self, outputs: Arrays, labels: Arrays, weights: Array) -> Array:
        """Return what is needed of each row: float64, shape (n, width)."""
        label, output = self._chosen.arrays(outputs, labels)
        if self._classes > 1:  # one score a row has the order of its probability
            require_declared(self.name, self._of, output)
        actual = class_indices(self.name, label, self._classes) == self._positive
        score = score_of(output.reshape(len(output), -1), self._positive, self._of)
        needed: Array = np.stack([actual, score, weights], axis=1).astype(np.float64)
        return needed

    def value(self, rows: Array, types: Sequence[str]) -> float:
        """Return the value over all rows, in any order; nan where it is not defined."""
        actual, score, weight = rows.T
        if np.isnan(score).any():
            return math.nan
        return (auc if self.name == "auc" else average_precision)(actual, score, weight)


def auc(actual: Array, score: Array, weight: Array) -> float:
    """Return the area under the ROC curve; nan where there is but one class."""
    positives, negatives = _weights_of_scores(actual, score, weight)
    pairs = positives.sum() * negatives.sum()
    if not pairs:
        return math.nan
    # a negative is outranked by the positives above it, and by half of those beside it
    above = np.cumsum(positives) - positives / 2
    return float(negatives @ above / pairs)


def average_precision(actual: Array, score: Array, weight: Array) -> float:
    """Return the mean of the precisions at each score, by the recall each of them adds; 0 where nothing is right."""
    positives, negatives = _weights_of_scores(actual, score, weight)
    if not len(positives):
        return math.nan
    right = np.cumsum(positives)
    found = right + np.cumsum(negatives)
    precision = np.divide(right, found, out=np.zeros_like(right), where=found > 0)
    return float(positives @ precision / right[-1]) if right[-1] else 0.0


def _weights_of_scores(actual: Array, score: Array, weight: Array) -> tuple[Array, Array]:
    """Return the weight of the positives and of the negatives of each score, the highest first."""
    order = np.argsort(-score, kind="stable")
    ordered = score[order]
    first = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))[: len(order)]
    positives = (weight * actual)[order]
    negatives = (weight * (1 - actual))[order]
    return np.add.reduceat(positives, first), np.add.reduceat(negatives, first)


def _check(component: Component, classes: int) -> None:
    name, options = component.name, component.options
    if classes == 1 and "class" in options:
        raise InputError(
            f"metric {name} has class, which is for one score a class, and the output has one a row: remove it"
        )
    if classes > 2 and "class" not in options:
        raise InputError(
            f"metric {name} is of one class, and the output has {classes}: set its option class to say of which; list "
            "the metric once for each where you want several"
        )
    if options.get("class", 0) >= max(classes, 2):
        raise InputError(
            f"metric {name} is of class {options['class']}, and the output has {classes}, counted from 0: set one that "
            "is there"
        )
