"""What an output says of each class: scores, probabilities or their logarithms."""

from __future__ import annotations

import numpy as np

from mxspark.errors import InputError
from mxspark.mx.loop.arrays import Array, class_indices


def score_of(output: Array, positive: int, of: str) -> Array:
    """Return by what rows are ranked for one class: float64, shape (n,).

    Parameters
    ----------
    output : ndarray, shape (n, classes)
        One class is class 1 alone.
    of : str
        Of ``scores`` it is the logarithm of the odds, as a score of one class says nothing without the others.
    """
    values = output.astype(np.float64)
    if values.shape[1] == 1:
        return values[:, 0]
    if of != "scores":
        return values[:, positive]
    others = np.delete(values, positive, axis=1)
    highest = others.max(1)
    # of two classes it is their difference, to the bit: equal rows stay equal
    odds: Array = values[:, positive] - highest - np.log(np.exp(others - highest[:, None]).sum(1))
    return odds


def log_loss(label: Array, output: Array, of: str = "scores") -> Array:
    """One value a row: minus the logarithm of the label's probability, of one score a row or of one a class.

    Probabilities are kept off 0 and 1 by the resolution of their type, as in scikit-learn.
    """
    if output.ndim > 2:
        raise InputError(
            f"metric log_loss needs one score a row, or one a class; the output has shape {output.shape}: give a "
            "function (labels, outputs) of one value a row"
        )
    flat = output.reshape(len(output), -1)
    actual = class_indices("log_loss", label, flat.shape[1])
    if of == "probabilities":
        flat = _inside(flat)
    values = flat.astype(np.float64)
    if flat.shape[1] == 1:
        return _of_one(actual == 1, values[:, 0], of)
    chosen = values[np.arange(len(values)), actual]
    logarithm: Array = chosen
    if of == "probabilities":
        logarithm = np.log(chosen)
    elif of == "scores":
        highest = values.max(1)
        logarithm = chosen - highest - np.log(np.exp(values - highest[:, None]).sum(1))
    return -logarithm


def _of_one(is_one: Array, value: Array, of: str) -> Array:
    if of == "scores":
        return np.logaddexp(0, np.where(is_one, -value, value))
    one = value if of == "probabilities" else np.exp(np.minimum(value, 0))
    return -np.where(is_one, np.log(one), np.log1p(-np.minimum(one, 1 - float(np.finfo(np.float64).eps))))


def _inside(probabilities: Array) -> Array:
    """Return probabilities off 0 and 1; what is far from them has been refused."""
    resolution = np.finfo(probabilities.dtype).eps
    inside: Array = np.clip(probabilities, resolution, 1 - resolution)
    return inside
