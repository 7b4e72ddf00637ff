"""What the last layer of a network says of its output, and which losses and metrics would take that for another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

from mxspark.job import catalog
from mxspark.job.losses import Seen
from mxspark.job.spec import Component

# As the option `of` of a metric has them.
SCORES = "scores"
PROBABILITIES = "probabilities"
LOGARITHMS = "log_probabilities"
_WORDS = {SCORES: "scores", PROBABILITIES: "probabilities", LOGARITHMS: "logarithms of probabilities"}
# Between which their values lie, and how far beyond rounding and a small number added to a logarithm may bring them.
_RANGES = {PROBABILITIES: (0.0, 1.0), LOGARITHMS: (-math.inf, 0.0)}
_ROUNDED = 0.01

# What a loss takes, where that does not depend on an option.
_LOSSES = {"hinge": SCORES, "squared_hinge": SCORES, "logistic": SCORES, "ctc": SCORES}
# The option by which it takes something else, its default, and what it takes then.
_OPTIONS = {
    "softmax_cross_entropy": ("from_logits", False, LOGARITHMS),
    "sigmoid_binary_cross_entropy": ("from_sigmoid", False, PROBABILITIES),
    "kl_div": ("from_logits", True, LOGARITHMS),
}
_OF_SOFTMAX = ("softmax_cross_entropy", "kl_div", "ctc")
_OF_LOGARITHMS = ("sigmoid_binary_cross_entropy", "logistic")
_OF_TWO = ("hinge", "squared_hinge", *_OF_LOGARITHMS)
_OF_AMOUNTS = ("l1", "l2", "huber")
# Of MXNet's own, what takes probabilities, and the named metric that can be told what it gets.
_OF_MXNET = {"CrossEntropy": "cross_entropy", "NegativeLogLikelihood": "cross_entropy", "Perplexity": "perplexity"}


@dataclass(frozen=True)
class End:
    """The layer that an output comes out of.

    Attributes
    ----------
    layer : str
        For people.
    kind : str or None
        One of the kinds above; None where the layer says nothing of it.
    low, high : float
        Between which all its values lie.
    axis : int or None
        Along which it adds up to 1, where the output has its axes as they are there.
    """

    layer: str
    kind: Optional[str] = None
    low: float = -math.inf
    high: float = math.inf
    axis: Optional[int] = None

    @property
    def values(self) -> str:
        """Between which all its values lie, for people."""
        return f"between {self.low:g} and {self.high:g}" if math.isfinite(self.high) else f"from {self.low:g} on"


def loss_refusal(loss: Component, end: Optional[End]) -> Optional[str]:
    """Return why a named loss would be another function of such an output, with what to change; None if not."""
    takes, option = _taken(loss)
    if end is None or end.kind is None or takes in (None, SCORES) or takes == end.kind:
        return None
    last = "a sigmoid" if takes == PROBABILITIES else "a log_softmax"
    way = f"end the network in {last}" if end.kind == SCORES else f"put {last} in its place"
    unset = f"set {option}: false beside its name, or " if end.kind == SCORES else ""
    return (
        f"training.loss {loss.name} takes {_WORDS[takes]} with {option}: true, but the network ends in {end.layer}, "
        f"which gives {_WORDS[end.kind]}: {unset}{way}"
    )


def has_range(loss: Component) -> bool:
    """Tell whether a named loss takes values of which some are none of what it is told they are."""
    return _taken(loss)[0] in _RANGES


def beyond(loss: Component, low: float, high: float, when: str) -> Optional[str]:
    """Return what is wrong with outputs between `low` and `high` for what a named loss takes; None if nothing.

    Of what the last layer says nothing, the values do: no logarithm of a probability is above 0. NaN is neither.
    """
    takes, option = _taken(loss)
    if takes is None or not _is_beyond(takes, low, high):
        return None
    last = "a sigmoid" if takes == PROBABILITIES else "a log_softmax"
    return (
        f"training.loss {loss.name} takes {_WORDS[takes]} with {option}: true, but the network's output goes from "
        f"{low:g} to {high:g} ({when}): set {option}: false beside its name for scores, or end the network in {last}"
    )


def metric_beyond(name: str, of: str, low: float, high: float) -> Optional[str]:
    """Return what is wrong with outputs between `low` and `high` for what the option `of` of a metric says they are."""
    if not _is_beyond(of, low, high):
        return None
    last = "a sigmoid or softmax" if of == PROBABILITIES else "a log_softmax"
    return (
        f"metric {name} is of {of}, and the output goes from {low:g} to {high:g}: set its option of: scores, or end "
        f"the network in {last}"
    )


def axis_refusal(loss: Component, end: Optional[End], axes: int) -> Optional[str]:
    """Return why a named loss would take an output of so many axes, the rows' included, along another; None if not."""
    is_of_classes = loss.function is None and loss.name in ("softmax_cross_entropy", "kl_div")
    if end is None or end.axis is None or not is_of_classes or _taken(loss)[0] != end.kind:
        return None
    axis = int(loss.options.get("axis", -1))
    if axis % axes == end.axis % axes:
        return None
    return (
        f"training.loss {loss.name} has its classes on axis {axis}, but the network ends in {end.layer}, which goes "
        f"along axis {end.axis}: give both the same axis"
    )


def loss_warning(loss: Component, end: Optional[End]) -> Optional[str]:
    """Return what a named loss of scores does with an output that is something else; None if it is not."""
    takes, option = _taken(loss)
    is_harmless = end is not None and end.kind == LOGARITHMS and loss.name in _OF_SOFTMAX
    if end is None or end.kind in (None, SCORES) or takes != SCORES or is_harmless:
        return None
    instead = (
        f", or set {option}: true beside its name" if end.kind == PROBABILITIES and option == "from_sigmoid" else ""
    )
    return (
        f"training.loss {loss.name} takes scores, and the network ends in {end.layer}, which gives "
        f"{_WORDS[str(end.kind)]}: it trains worse than without that layer; leave it out{instead}"
    )


def range_warning(loss: Component, label: str, seen: Seen, end: Optional[End]) -> Optional[str]:
    """Return which labels no output can come near, by the values it can have; None where there are none."""
    if end is None or loss.function is not None:
        return None
    ends = f"the network ends in {end.layer}, whose values are {end.values}"
    if loss.name in _OF_AMOUNTS and (seen.low < end.low or seen.high > end.high):
        return (
            f"label {label!r} has values from {seen.low:g} to {seen.high:g}, and {ends}: it cannot reach them; leave "
            "that layer out, or scale the labels"
        )
    if end.kind is not None or _taken(loss)[0] != SCORES:
        return None
    if loss.name in _OF_TWO and end.low >= 0:
        return f"training.loss {loss.name} tells two classes by the sign of a score, and {ends}: leave that layer out"
    if loss.name in (*_OF_SOFTMAX, *_OF_LOGARITHMS) and math.isfinite(end.high):
        return (
            f"training.loss {loss.name} takes scores of any size, and {ends}, so that no probability comes near 0 or "
            "1: leave that layer out"
        )
    return None


def metric_refusal(metric: Component, end: Optional[End], values: int) -> Optional[str]:
    """Return why a named metric would take an output of so many values a row for something else; None if not."""
    if end is None or end.kind is None or metric.function is not None:
        return None
    known = catalog.METRICS[metric.name].options
    option = ""
    if "of" in known:
        takes = metric.options.get("of", SCORES)
        # scores of several classes are ranked by their odds, so that one of them alone says nothing
        is_same_order = values == 1 or (values == 2 and takes == SCORES) or SCORES not in (takes, end.kind)
        keeps_order = catalog.METRICS[metric.name].needs_all and is_same_order
        is_same_softmax = takes == SCORES and end.kind == LOGARITHMS and values > 1
        option = "" if takes == end.kind or keeps_order or is_same_softmax else f"of: {end.kind}"
    elif _is_parted_at_zero(metric, values) and end.kind == PROBABILITIES:
        takes, option = SCORES, "threshold: 0.5"
    if not option:
        return None
    return (
        f"metric {metric.name} takes {_WORDS[takes]}, but the network ends in {end.layer}, which gives "
        f"{_WORDS[end.kind]}: set its option {option}"
    )


def threshold_refusal(loss: Component, metric: Component, values: int, label: Optional[Seen]) -> Optional[str]:
    """Return why the threshold of a metric would part what a loss of amounts makes of 0 and 1 at 0; None if not."""
    is_of_amounts = loss.function is None and loss.name in _OF_AMOUNTS
    if not is_of_amounts or label is None or not _is_parted_at_zero(metric, values):
        return None
    if (label.low, label.high) != (0, 1) or not label.content.is_whole:
        return None
    return (
        f"metric {metric.name} parts the classes at its threshold of 0, but training.loss {loss.name} brings the "
        "output to the labels 0 and 1: set its option threshold: 0.5"
    )


def threshold_warning(loss: Component, metric: Component, values: int, end: Optional[End]) -> Optional[str]:
    """Return what a threshold of a half parts where the output is scores; None where it is none, or they are not."""
    is_of_scores = _taken(loss)[0] == SCORES and loss.name in _OF_LOGARITHMS
    is_of_scores &= end is None or end.kind != PROBABILITIES
    if not is_of_scores or not _has_threshold(metric, values) or metric.options.get("threshold") != 0.5:
        return None
    return (
        f"metric {metric.name} has the threshold 0.5, and training.loss {loss.name} makes the output a score, of which "
        "0.5 is a probability of 0.62: leave the option out for one of 0.5, which is a score of 0"
    )


def metric_warning(metric: Component, output: Sequence[int]) -> Optional[str]:
    """Return why a named metric says nothing of an output of such a shape, the rows included; None if it does."""
    is_top = metric.function is None and metric.name == "top_k_accuracy" and metric.options.get("output", 0) == 0
    if not is_top or metric.options.get("k") != output[-1]:
        return None
    return f"metric top_k_accuracy is 1 for every row, as the network has {output[-1]} outputs: lower k"


def of_mxnet_refusal(name: str, end: Optional[End]) -> Optional[str]:
    """Return why a class of ``mxnet.metric`` that takes probabilities would take an output for them; None if not."""
    if name not in _OF_MXNET or end is None or end.kind in (None, PROBABILITIES):
        return None
    return (
        f"metric {name} takes probabilities, but the network ends in {end.layer}, which gives "
        f"{_WORDS[str(end.kind)]}: use the metric {_OF_MXNET[name]}, with its option of: {end.kind}"
    )


def of_mxnet_beyond(name: str, low: float, high: float) -> Optional[str]:
    """Return why outputs between `low` and `high` are none of the probabilities that a class of MXNet's takes."""
    if name not in _OF_MXNET or not _is_beyond(PROBABILITIES, low, high):
        return None
    return (
        f"metric {name} takes probabilities, and the output goes from {low:g} to {high:g}: use the metric "
        f"{_OF_MXNET[name]}"
    )


def _is_beyond(kind: str, low: float, high: float) -> bool:
    least, most = _RANGES.get(kind, (-math.inf, math.inf))
    return low < least - _ROUNDED or high > most + _ROUNDED


def _taken(loss: Component) -> tuple[Optional[str], str]:
    """Return what a named loss takes, and the option that says so; None of what takes any numbers, or is a function."""
    if loss.function is not None:
        return None, ""
    if loss.name not in _OPTIONS:
        return _LOSSES.get(loss.name), ""
    option, default, other = _OPTIONS[loss.name]
    return (other if loss.options.get(option, default) else SCORES), option


def _is_parted_at_zero(metric: Component, values: int) -> bool:
    """Tell whether a metric parts scores at its threshold of 0, which nobody has set."""
    return "threshold" not in metric.options and _has_threshold(metric, values)


def _has_threshold(metric: Component, values: int) -> bool:
    """Tell whether a metric parts scores at a threshold: one score a row, or each for itself."""
    if metric.function is not None or "threshold" not in catalog.METRICS[metric.name].options:
        return False
    return metric.name == "binary_accuracy" or values == 1
