"""Labels and outputs that the metrics of ``mxnet.metric`` take without a word and mean otherwise, or raise over."""

from __future__ import annotations

from typing import Any

from mxspark.errors import InputError
from mxspark.job import ends
from mxspark.mx.loop.arrays import Array, require_classes, require_same_size

# What each does with labels that are no classes of the output: counts them as wrong, or takes another class.
_OF_CLASSES = ("Accuracy", "TopKAccuracy", "CrossEntropy", "NegativeLogLikelihood", "Perplexity", "F1", "MCC", "PCC")
_OF_NUMBERS = ("MAE", "MSE", "RMSE", "PearsonCorrelation")
# What is given in place of one that takes the highest of one score, which is always the first.
_OF_ONE_SCORE = {"Accuracy": "binary_accuracy", "F1": "f1", "CrossEntropy": "log_loss", "Perplexity": "log_loss"}


def require_fit(metric: Any, label: Array, output: Array) -> None:
    """Refuse what a metric of MXNet's own would broadcast, clip, cut or read in another order.

    Raises
    ------
    InputError
        Naming the metric, the shapes or the labels, and what to do.
    """
    name = type(metric).__name__
    if name in _OF_NUMBERS:
        require_same_size(name, label, output)
        _require_same_axes(name, label, output)
    elif name in _OF_CLASSES:
        _require_classes(name, metric, label, output)


def _require_same_axes(name: str, label: Array, output: Array) -> None:
    if name == "PearsonCorrelation" and label.shape != output.shape:
        raise InputError(
            f"metric {name} takes labels and outputs of one shape, and these have {label.shape} and {output.shape}: "
            "use the metric pearson"
        )


def _require_classes(name: str, metric: Any, label: Array, output: Array) -> None:
    axis = getattr(metric, "axis", -1)
    if output.ndim < 2 or output.shape[axis] < 2:
        raise InputError(
            f"metric {name} takes one score a class, and the output has shape {output.shape}, of which the highest is "
            f"always the first: use the metric {_OF_ONE_SCORE.get(name, 'f1 or binary_accuracy')}"
        )
    if name in ("F1", "MCC") and output.shape[axis] != 2:
        raise InputError(
            f"metric {name} tells two classes apart, and the output has shape {output.shape}: use the metric f1 with "
            "its option average or class"
        )
    if label.shape == output.shape:
        raise InputError(
            f"metric {name} takes the index of a class, and labels of shape {label.shape} have one value for each: "
            "give a function (labels, outputs) of one value a row, as labels.argmax(1) == outputs.argmax(1)"
        )
    require_same_size(name, label, output.take(0, axis=axis))
    ignored = getattr(metric, "ignore_label", None)
    counted = label if ignored is None else label[label != ignored]
    require_classes(name, counted, output.shape[axis])
    problem = ends.of_mxnet_beyond(name, output.min(), output.max()) if output.size else None
    if problem is not None:
        raise InputError(problem)
