"""The names that metrics are reported by, which way each of them is better, and what each needs to be exact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

from mxspark.job import catalog
from mxspark.job.spec import Component

LOSS = "loss"
HIGHER, LOWER = "max", "min"

#: What a metric of MXNet's adds up when it is updated: a value a row; the mean of the batch it is given; or neither,
#: and only an update with all rows at once is right.
ROWS, BATCH_MEANS = "rows", "batch means"
NOTHING = "nothing"


@dataclass(frozen=True)
class OfMXNet:
    """A class of ``mxnet.metric``: which direction is better, and what its updates add up."""

    better: str
    adds_up: str


#: Of the classes in ``mxnet.metric``, which a job may name by path or give as they are; a test holds them to be all.
OF_MXNET = {
    "Accuracy": OfMXNet(HIGHER, ROWS),
    "TopKAccuracy": OfMXNet(HIGHER, ROWS),
    "F1": OfMXNet(HIGHER, NOTHING),
    "MCC": OfMXNet(HIGHER, NOTHING),
    "PCC": OfMXNet(HIGHER, NOTHING),
    "PearsonCorrelation": OfMXNet(HIGHER, NOTHING),
    "CrossEntropy": OfMXNet(LOWER, ROWS),
    "NegativeLogLikelihood": OfMXNet(LOWER, ROWS),
    "Perplexity": OfMXNet(LOWER, ROWS),
    "MAE": OfMXNet(LOWER, BATCH_MEANS),
    "MSE": OfMXNet(LOWER, BATCH_MEANS),
    "RMSE": OfMXNet(LOWER, NOTHING),  # a mean of the roots of the batches
    "Loss": OfMXNet(LOWER, ROWS),
    "Torch": OfMXNet(LOWER, ROWS),  # a mean of what a network of theirs gave as its loss
    "Caffe": OfMXNet(LOWER, ROWS),
}


def reported_names(metrics: Sequence[Component]) -> list[str]:
    """Return the name of each metric in events and results: its own, with ``_2`` for the second of that name.

    >>> reported_names([Component("top_k_accuracy", {"k": 1}), Component("top_k_accuracy", {"k": 5})])
    ['top_k_accuracy', 'top_k_accuracy_2']
    """
    names = [metric.name for metric in metrics]
    return [f"{name}_{names[: i + 1].count(name)}" if name in names[:i] else name for i, name in enumerate(names)]


def value_names(metrics: Sequence[Component]) -> list[str]:
    """Return the name of each value in events and results: a metric has one of its own name, or one for each part.

    >>> value_names([Component("f1"), Component("confusion")])
    ['f1', 'confusion_tp', 'confusion_fp', 'confusion_fn', 'confusion_tn']
    """
    return [value for name, metric in zip(reported_names(metrics), metrics) for value in _values(name, metric)]


def place_of_values(metrics: Sequence[Component]) -> dict[str, int]:
    """Return for each value, by its name in events and results, which of the metrics it is of."""
    named = zip(reported_names(metrics), metrics)
    return {value: place for place, (name, metric) in enumerate(named) for value in _values(name, metric)}


def of_mxnet(metric: Component) -> Optional[OfMXNet]:
    """Return what is known of a metric that is a class of ``mxnet.metric``, given as such or by its path."""
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


def take_scores(loss: Component, metrics: Sequence[Component]) -> list[str]:
    """Return one line for each metric that would take for scores what the loss says are probabilities.

    With its threshold of 0 every probability is a guess of "yes".
    """
    if loss.function is not None or not loss.options.get("from_sigmoid"):
        return []
    found = [(one.name, _option_for_probabilities(one)) for one in metrics if one.function is None]
    return [
        f"training.metrics: {name} takes the output for scores, but training.loss has from_sigmoid: true, which makes "
        f"it probabilities; give it {option}"
        for name, option in found
        if option
    ]


def _option_for_probabilities(metric: Component) -> str:
    options = catalog.METRICS[metric.name].options
    if "average" in metric.options or "class" in metric.options:  # the highest of several is the guess
        return ""
    if "threshold" in options and "threshold" not in metric.options:
        return "threshold: 0.5"
    is_of_scores = "of" in options and "of" not in metric.options and not needs_all(metric)  # an order is not changed
    return "of: probabilities" if is_of_scores else ""


def _class_of_mxnet(metric: Component) -> str:
    """Return the name of what a job takes from ``mxnet.metric``; nothing of named metrics and other functions."""
    module, _, name = metric.name.replace(":", ".").rpartition(".")
    return name if metric.function is not None and module == "mxnet.metric" else ""


def needs_all(metric: Component) -> bool:
    """Tell whether a metric is known to need all rows at once; what a function returns only the worker knows."""
    if metric.function is None:
        return catalog.METRICS[metric.name].needs_all
    known = of_mxnet(metric)
    return known is not None and known.adds_up == NOTHING


def directions(metrics: Sequence[Component]) -> dict[str, str]:
    """Return the better direction, ``max`` or ``min``, of the loss and of every value by its name, where it is known.

    That of a function only its user knows.
    """
    found = {LOSS: LOWER}
    for name, metric in zip(reported_names(metrics), metrics):
        known = of_mxnet(metric)
        if metric.function is None:
            found.update(_values(name, metric))
        elif known is not None:
            found[name] = known.better
    return found


def default_best(metrics: Sequence[Component]) -> str:
    """Return what names the best epoch unless the user says: the first metric of known direction, or the loss."""
    known = directions(metrics)
    of_one_value = [name for name in reported_names(metrics) if name in known]
    return [*of_one_value, LOSS][0]


def _values(name: str, metric: Component) -> dict[str, str]:
    """Return the better direction of each value of a metric by its reported name; of a function it is empty."""
    if metric.function is not None:
        return {name: ""}
    known = catalog.METRICS[metric.name]
    return {f"{name}_{part}": better for part, better in known.parts.items()} or {name: known.better}
