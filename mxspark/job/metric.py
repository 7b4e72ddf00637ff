"""The names that metrics are reported by, and which way each of them is better."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

from mxspark.job import catalog
from mxspark.job.spec import Component

LOSS = "loss"
HIGHER, LOWER = "max", "min"

#: Of the classes in ``mxnet.metric``, which a job may name by path or give as they are; a test holds them to be all.
OF_MXNET = {
    "Accuracy": HIGHER,
    "TopKAccuracy": HIGHER,
    "F1": HIGHER,
    "MCC": HIGHER,
    "PCC": HIGHER,
    "PearsonCorrelation": HIGHER,
    "CrossEntropy": LOWER,
    "NegativeLogLikelihood": LOWER,
    "Perplexity": LOWER,
    "MAE": LOWER,
    "MSE": LOWER,
    "RMSE": LOWER,
    "Loss": LOWER,
    "Torch": LOWER,  # a mean of what a network of theirs gave as its loss
    "Caffe": LOWER,
}


def reported_names(metrics: Sequence[Component]) -> list[str]:
    """Return the name of each metric in events and results: its own, with ``_2`` for the second of that name.

    >>> reported_names([Component("top_k_accuracy", {"k": 1}), Component("top_k_accuracy", {"k": 5})])
    ['top_k_accuracy', 'top_k_accuracy_2']
    """
    names = [metric.name for metric in metrics]
    return [f"{name}_{names[: i + 1].count(name)}" if name in names[:i] else name for i, name in enumerate(names)]


def known_direction(metric: Component) -> Optional[str]:
    """Return ``max`` or ``min``, whichever is better for a metric; None for a function that only the user knows."""
    if metric.function is None:
        return catalog.METRICS[metric.name].better
    return OF_MXNET.get(_class_of_mxnet(metric))


def unweighable(metrics: Sequence[Component], weighed_by: Optional[str]) -> list[str]:
    """Return one line for each metric that is known not to weigh rows, where the key `weighed_by` does."""
    found = [metric.name for metric in metrics if weighed_by is not None and _class_of_mxnet(metric)]
    return [cannot_weigh(name, str(weighed_by)) for name in found]


def cannot_weigh(name: str, weighed_by: str) -> str:
    """Say that an ``mxnet.metric.EvalMetric`` counts every row the same."""
    return (
        f"training.metrics: {name} is an mxnet.metric.EvalMetric, which counts every row the same, but {weighed_by} "
        "weighs the rows; use a named metric, or a function (labels, outputs) that returns one value a row"
    )


def _class_of_mxnet(metric: Component) -> str:
    """Return the name of what a job takes from ``mxnet.metric``; nothing of named metrics and other functions."""
    module, _, name = metric.name.replace(":", ".").rpartition(".")
    return name if metric.function is not None and module == "mxnet.metric" else ""


def directions(metrics: Sequence[Component]) -> dict[str, str]:
    """Return the better direction of the loss and of every metric by its reported name; an unknown one is ``max``."""
    named = zip(reported_names(metrics), metrics)
    return {LOSS: LOWER, **{name: known_direction(metric) or HIGHER for name, metric in named}}
