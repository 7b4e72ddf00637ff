"""Metrics that are means of one value a row: each function returns these values, shape (n,)."""

from __future__ import annotations

from typing import Any, Optional

import numpy as np

from mxspark.errors import InputError
from mxspark.mx.loop.arrays import require_classes, require_same_size
from mxspark.mx.loop.probabilities import log_loss
from mxspark.mx.model.row_axis import refuse_rows


def accuracy(label: Any, output: Any, axis: Optional[int] = None) -> Any:
    """One value a row: the part of it whose highest score is at the label."""
    axis = _axis_of_classes(label, output) if axis is None else axis
    refuse_rows("metric accuracy", axis, output.shape)
    if output.ndim < 2 or output.shape[axis] < 2:
        raise InputError(
            f"metric accuracy needs an output with one score a class; this one has shape {output.shape}: use "
            "binary_accuracy"
        )
    _require_indices("accuracy", label, output, axis)
    return _row_mean(_same(label, output.argmax(axis), "accuracy"))


def _axis_of_classes(label: Any, output: Any) -> int:
    """Return the axis without which an output has the shape of its label; 1 where that does not tell."""
    shape = output.shape
    found = [axis for axis in range(1, output.ndim) if shape[:axis] + shape[axis + 1 :] == label.shape]
    if len(found) > 1:
        raise InputError(
            f"metric accuracy cannot tell where the classes are in an output of shape {shape} for labels of shape "
            f"{label.shape}: set its option axis to one of {', '.join(map(str, found))}"
        )
    return found[0] if found else 1


def top_k_accuracy(label: Any, output: Any, k: int) -> Any:
    """One value a row: 1 if the label is among the `k` highest scores."""
    if output.ndim != 2 or output.shape[1] < k:
        raise InputError(
            f"metric top_k_accuracy needs an output with at least {k} scores a row; this one has shape {output.shape}: "
            "lower k"
        )
    _require_one_index("top_k_accuracy", label, output)
    best = np.argpartition(output, -k, axis=1)[:, -k:]
    return (best == label.reshape(-1, 1)).any(1)


def binary_accuracy(label: Any, output: Any, threshold: float = 0.0) -> Any:
    """One value a row: the part of it on the label's side of `threshold`: 0 for scores, 0.5 for probabilities."""
    return _row_mean(_same(label > 0, output > threshold, "binary_accuracy"))


def cross_entropy(label: Any, output: Any, of: str = "scores") -> Any:
    """One value a row: minus the logarithm of the label's probability."""
    if output.ndim != 2:
        raise InputError(
            f"metric cross_entropy needs one score a class and row; the output has shape {output.shape}: give a "
            "function of your own"
        )
    _require_one_index("cross_entropy", label, output)
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


VALUES = {
    "accuracy": accuracy,
    "top_k_accuracy": top_k_accuracy,
    "binary_accuracy": binary_accuracy,
    "cross_entropy": cross_entropy,
    "log_loss": log_loss,
    "mae": mae,
    "mse": mse,
}


# What counts labels of one value a class, by the metric that does not.
_OF_ONE_A_CLASS = {
    "accuracy": "labels.argmax(1) == outputs.argmax(1)",
    "top_k_accuracy": "(outputs.argsort(1)[:, -k:] == labels.argmax(1)[:, None]).any(1), with your k",
    "cross_entropy": "one value a row",
}


def _require_one_index(name: str, label: Any, output: Any) -> None:
    _require_indices(name, label, output, 1)
    require_same_size(name, label, output[:, 0])


def _require_indices(name: str, label: Any, output: Any, axis: int) -> None:
    """Refuse labels that are no classes of an output: no row would be right, or another class would be taken."""
    classes = output.shape[axis]
    if label.shape == output.shape:
        raise InputError(
            f"metric {name} takes the index of a class, and labels of shape {label.shape} have one value for each of "
            f"the {classes}: give a function (labels, outputs) that returns {_OF_ONE_A_CLASS[name]}"
        )
    require_classes(name, label, classes)


def _same(label: Any, guess: Any, name: str) -> Any:
    require_same_size(name, label, guess)
    return guess.reshape(len(guess), -1) == label.reshape(len(guess), -1)


def _difference(label: Any, output: Any, name: str) -> Any:
    require_same_size(name, label, output)
    return output.reshape(len(output), -1).astype(np.float64) - label.reshape(len(output), -1)


def _row_mean(values: Any) -> Any:
    return values[:, 0] if values.shape[1] == 1 else values.mean(1, dtype=np.float64)
