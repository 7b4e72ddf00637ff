"""What each named loss and metric takes for a label: a number comes out for any label, and means something else.

One row of `TABLE` a loss; where an option changes what a label means, one row for each of its values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional

from mxspark.data.spool import Content, SpooledArray
from mxspark.job import catalog
from mxspark.job.spec import Component

#: How far a sum of probabilities may be from 1: they may be float16, or each be rounded to two digits.
_SUM_TOLERANCE = 0.02
_TOLERANCE_A_CLASS = 0.005
_MOST_TOLERANCE = 0.2


@dataclass(frozen=True)
class Takes:
    """The labels that a loss can mean.

    Attributes
    ----------
    words : str
        The same for people.
    low, high : float
        All values lie between them.
    is_whole, has_zero : bool
        All values are whole numbers; 0 may be one of them.
    is_distribution : bool
        A row has a value for each class, and they add up to 1.
    is_list : bool
        A row has several values.
    is_index : bool
        A value is the index of a class.
    """

    words: str
    low: float = -math.inf
    high: float = math.inf
    is_whole: bool = False
    has_zero: bool = True
    is_distribution: bool = False
    is_list: bool = False
    is_index: bool = False


ANY = Takes("any numbers")
_INDICES = Takes("whole numbers from 0 on: the index of the class", low=0.0, is_whole=True, is_index=True)
_UNIT = Takes("0 and 1, or probabilities between them", 0.0, 1.0)
_SIGNED = Takes("-1 and 1", -1.0, 1.0, is_whole=True, has_zero=False)
_BINARY = Takes("0 and 1", 0.0, 1.0, is_whole=True)
_DISTRIBUTION = Takes("one probability a class, adding up to 1 in every row", 0.0, 1.0, is_distribution=True)
_SEQUENCE = Takes(
    "a list of class indices from 0 on in every row, then -1", -1.0, is_whole=True, is_list=True, is_index=True
)

#: What says a class.
OF_CLASSES = (_INDICES, _UNIT, _SIGNED, _BINARY)

#: The option of a loss that changes what a label means, with its default.
MEANING: dict[str, tuple[str, Any]] = {
    "softmax_cross_entropy": ("sparse_label", True),
    "logistic": ("label_format", "signed"),
}

#: By the name of the loss and the value of that option.
TABLE: dict[tuple[str, Any], Takes] = {
    ("softmax_cross_entropy", True): _INDICES,
    ("softmax_cross_entropy", False): _DISTRIBUTION,
    ("sigmoid_binary_cross_entropy", None): _UNIT,
    ("l1", None): ANY,
    ("l2", None): ANY,
    ("huber", None): ANY,
    ("hinge", None): _SIGNED,
    ("squared_hinge", None): _SIGNED,
    ("logistic", "signed"): _SIGNED,
    ("logistic", "binary"): _BINARY,
    ("kl_div", None): _DISTRIBUTION,
    ("ctc", None): _SEQUENCE,
}


#: Metrics that compare a label with a class; the others take any numbers.
METRICS: dict[str, Takes] = {
    "accuracy": _INDICES,
    "top_k_accuracy": _INDICES,
    "cross_entropy": _INDICES,
    "perplexity": _INDICES,
    "log_loss": _INDICES,
    "binary_accuracy": _BINARY,
    "f1": _BINARY,
    "precision": _BINARY,
    "recall": _BINARY,
    "confusion": _BINARY,
    "auc": _BINARY,
    "pr_auc": _BINARY,
}

#: Of these, who tells two classes apart, and takes the labels of `hinge` as well: 1 is class 1 in both.
OF_TWO = ("binary_accuracy", "f1", "precision", "recall", "confusion", "auc", "pr_auc", "log_loss")

#: Options of a metric that make it one of several classes.
_OF_CLASSES = ("average", "class")

#: What takes -1 and 1 in place of a metric that does not.
_INSTEAD = {"accuracy": "binary_accuracy", "cross_entropy": "log_loss"}


@dataclass(frozen=True)
class Seen:
    """What the rows of a label hold.

    Attributes
    ----------
    shape : tuple of int
        Of one row.
    low, high : float
        Extremes of all values.
    content : Content
        What else is known of them.
    """

    shape: tuple[int, ...]
    low: float
    high: float
    content: Content

    def fits(self, takes: Takes) -> bool:
        """Tell whether a loss can mean these labels."""
        in_range = takes.low <= self.low and self.high <= takes.high
        is_whole = self.content.is_whole or not takes.is_whole
        has_zero = takes.has_zero or not self.content.has_zero
        is_list = bool(self.shape) or not (takes.is_list or takes.is_distribution)
        return in_range and is_whole and has_zero and is_list and (self._adds_up or not takes.is_distribution)

    @property
    def _adds_up(self) -> bool:
        low, high = self.content.sums
        if len(self.shape) != 1:
            return True  # along which axis only a worker knows: see `mx.model.distributions`
        beyond = tolerance(self.shape[0])
        return low >= 1 - beyond and high <= 1 + beyond

    def __str__(self) -> str:
        text = f"values from {self.low:g} to {self.high:g}"
        if not self.content.is_whole:
            text += ", not all of them whole"
        elif self.content.has_zero and self.low < 0 < self.high:
            text += ", 0 among them"
        if not self.shape:
            return text
        low, high = self.content.sums
        return f"{text}, {' x '.join(map(str, self.shape))} in a row, which add up to {low:g}" + (
            f" to {high:g}" if high > low else ""
        )


def tolerance(classes: int) -> float:
    """Return how far a sum of so many probabilities may be from 1."""
    return min(_MOST_TOLERANCE, max(_SUM_TOLERANCE, _TOLERANCE_A_CLASS * classes))


def takes(loss: Component) -> Optional[Takes]:
    """Return what a named loss takes; None for a function of the user's."""
    if loss.function is not None:
        return None
    option, default = MEANING.get(loss.name, ("", None))
    return TABLE[loss.name, loss.options.get(option, default)]


def metric_takes(metric: Component) -> Optional[Takes]:
    """Return what a named metric takes; None where that is any numbers, and for a function or class of the user's."""
    if metric.function is not None or metric.name not in METRICS:
        return None
    return _INDICES if _of_classes(metric) else METRICS[metric.name]


def is_class_index(loss: Component) -> bool:
    """Tell whether the label of a loss is the index of an output."""
    return takes(loss) is _INDICES


def seen(name: str, arrays: Sequence[SpooledArray]) -> Optional[Seen]:
    """Return what the spooled rows of a label hold; None where there is no row."""
    for array in arrays:
        if array.name == name and array.content and array.minimum is not None and array.maximum is not None:
            return Seen(array.shape, array.minimum, array.maximum, array.content)
    return None


def problem(loss: Component, name: str, found: Optional[Seen]) -> Optional[str]:
    """Return why a loss cannot mean the labels that were seen, with what to change; None if it can."""
    wanted = takes(loss)
    if wanted is None or found is None or found.fits(wanted):
        return None
    return (
        f"label {name!r} has {found}, but training.loss {loss.name} takes {wanted.words}: {_advice(loss, name, found)}"
    )


def metric_problem(metric: Component, name: str, found: Optional[Seen]) -> Optional[str]:
    """Return why a metric cannot mean the labels that were seen: no row would ever be right; None if it can."""
    wanted = metric_takes(metric)
    is_of_two = metric.name in OF_TWO and not _of_classes(metric)
    if wanted is None or found is None or found.fits(wanted) or (is_of_two and found.fits(_SIGNED)):
        return None
    words = f"{wanted.words}, or {_SIGNED.words}" if is_of_two else wanted.words
    return (
        f"label {name!r} has {found}, but the metric {metric.name} takes {words}: {_advice_of_metric(metric, found)}, "
        "leave the metric out, or give a function (labels, outputs) that returns one value a row"
    )


def _of_classes(metric: Component) -> list[str]:
    return [option for option in _OF_CLASSES if option in metric.options]


def _advice_of_metric(metric: Component, found: Seen) -> str:
    if found.fits(_SIGNED):  # the loss wants them so
        of_classes = _of_classes(metric)
        if of_classes:
            return f"remove its option {of_classes[0]}, of two classes it takes these"
        if metric.name in _INSTEAD:
            return f"use {_INSTEAD[metric.name]}, which takes these"
    options = [option for option in _OF_CLASSES if option in catalog.METRICS[metric.name].options]
    if options and found.fits(_INDICES):
        return f"set its option {' or '.join(options)} for several classes, map the labels to that"
    return "map the labels to that"


def too_many_labels(loss: Component, names: Sequence[str]) -> Optional[str]:
    """Return why a loss cannot take so many labels; MXNet takes the second for the weight of the rows, by position."""
    if loss.function is not None or len(names) < 2:
        return None
    listed = ", ".join(names)
    instead = [f"set data.weight: {names[1]} if it is what a row counts"]
    if takes(loss) is ANY:
        instead.append(f"make one array column of several targets, F.array({', '.join(map(repr, names))})")
    instead.append(f"give a function (output, {listed}) that returns one value a row")
    return (
        f"data.label: {listed} are {len(names)} labels, but training.loss {loss.name} takes one, and would take "
        f"{names[1]!r} for a weight or a length: leave one and {', or '.join(instead)}"
    )


def against_output(loss: Component, name: str, found: Optional[Seen], output: Sequence[int]) -> Optional[str]:
    """Return why a loss cannot mean the labels with a network of such an output, shape (rows, ...); None if it can."""
    if loss.function is not None or found is None:
        return None
    if loss.name == "ctc" and len(output) == 3 and found.high > output[2] - 2:
        return (
            f"label {name!r} has values to {found.high:g}, but the network has {output[2]} outputs, the last of which "
            f"is the blank of ctc: give it {int(found.high) + 2} outputs, or mend the labels"
        )
    is_sparse = loss.name == "softmax_cross_entropy" and takes(loss) is _INDICES
    if is_sparse and len(output) == 2 and math.prod(found.shape) > 1:
        words = (
            f"label {name!r} has {found.shape[0]} values in a row, but training.loss {loss.name} takes one class index"
        )
        advice = "set its sparse_label: false" if found.fits(_DISTRIBUTION) else "give one label a row"
        return f"{words} for an output of {output[1]} classes: {advice}"
    return None


def _advice(loss: Component, name: str, found: Seen) -> str:
    """Return what to change, so that what was seen is what is meant."""
    option, _ = MEANING.get(loss.name, ("", None))
    for (other, value), wanted in TABLE.items():
        is_one_index = wanted is not _INDICES or not found.shape  # a row of several is no index
        if other == loss.name and is_one_index and found.fits(wanted):
            return f"set {option}: {str(value).lower()} beside its name"
    if found.fits(_SIGNED):
        mapped = "map the labels to 0 and 1, by (y + 1) / 2"
        return f"set training.loss: logistic, or {mapped}" if loss.name == "sigmoid_binary_cross_entropy" else mapped
    if found.fits(_BINARY) and takes(loss) is _SIGNED:
        return "map the labels to -1 and 1, by 2 * y - 1"
    if found.fits(_DISTRIBUTION) and found.shape:
        return "set training.loss: {name: softmax_cross_entropy, sparse_label: false}"
    if found.fits(_UNIT) and not found.shape:
        return "set training.loss: sigmoid_binary_cross_entropy, for a network of one output"
    if found.fits(_UNIT):
        return "set training.loss: sigmoid_binary_cross_entropy, for classes of which a row may have several"
    if found.fits(_INDICES) and not found.shape:
        return "set training.loss: softmax_cross_entropy for classes, or l2 for amounts"
    return f"map the labels to that, correct data.label.{name}, or set training.loss: l2 for amounts"
