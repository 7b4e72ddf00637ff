"""What the last layer of a network says of its output, and which losses and metrics would take it for another."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Optional

from mxspark.job import catalog
from mxspark.job.spec import Component

# As the option `of` of a metric has them.
SCORES, PROBABILITIES, LOGARITHMS = "scores", "probabilities", "log_probabilities"
_WORDS = {SCORES: "scores", PROBABILITIES: "probabilities", LOGARITHMS: "logarithms of probabilities"}

# What a loss takes, where that does not depend on an option.
_LOSSES = {"hinge": SCORES, "squared_hinge": SCORES, "logistic": SCORES, "ctc": SCORES}
# The option by which it takes something else, its default, and what it takes then.
_OPTIONS = {
    "softmax_cross_entropy": ("from_logits", False, LOGARITHMS),
    "sigmoid_binary_cross_entropy": ("from_sigmoid", False, PROBABILITIES),
    "kl_div": ("from_logits", True, LOGARITHMS),
}
_OF_SOFTMAX = ("softmax_cross_entropy", "kl_div", "ctc")
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
    """

    layer: str
    kind: Optional[str] = None
    low: float = -math.inf
    high: float = math.inf


def loss_refusal(loss: Component, end: Optional[End]) -> Optional[str]:
    """Return why a named loss would be another function of such an output, with what to change; None if not."""
    takes, option = _taken(loss)
    if end is None or end.kind is None or takes in (None, SCORES) or takes == end.kind:
        return None
    last = "a sigmoid" if takes == PROBABILITIES else "a log_softmax"
    return (
        f"training.loss {loss.name} takes {_WORDS[takes]} with {option}: true, but the network ends in {end.layer}, "
        f"which gives {_WORDS[end.kind]}: set {option}: false beside its name, for scores, or end the network in {last}"
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


def range_warning(loss: Component, label: str, low: float, high: float, end: Optional[End]) -> Optional[str]:
    """Return which labels of amounts no output can reach; None where there are none."""
    if end is None or loss.function is not None or loss.name not in ("l1", "l2", "huber"):
        return None
    if low >= end.low and high <= end.high:
        return None
    to = f"between {end.low:g} and {end.high:g}" if math.isfinite(end.high) else f"from {end.low:g} on"
    return (
        f"label {label!r} has values from {low:g} to {high:g}, and the network ends in {end.layer}, whose values are "
        f"{to}: it cannot reach them; leave that layer out, or scale the labels"
    )


def metric_refusal(metric: Component, end: Optional[End], values: int) -> Optional[str]:
    """Return why a named metric would take an output of so many values a row for something else; None if not."""
    if end is None or end.kind is None or metric.function is not None:
        return None
    known = catalog.METRICS[metric.name].options
    option = ""
    if "of" in known:
        takes = metric.options.get("of", SCORES)
        keeps_order = catalog.METRICS[metric.name].needs_all and values <= 2
        is_same_softmax = takes == SCORES and end.kind == LOGARITHMS and values > 1
        option = "" if takes == end.kind or keeps_order or is_same_softmax else f"of: {end.kind}"
    elif _has_threshold(metric, values) and end.kind == PROBABILITIES:
        takes, option = SCORES, "threshold: 0.5"
    if not option:
        return None
    return (
        f"metric {metric.name} takes {_WORDS[takes]}, but the network ends in {end.layer}, which gives "
        f"{_WORDS[end.kind]}: set its option {option}"
    )


def of_mxnet_refusal(name: str, end: Optional[End]) -> Optional[str]:
    """Return why a class of ``mxnet.metric`` that takes probabilities would take an output for them; None if not."""
    if name not in _OF_MXNET or end is None or end.kind in (None, PROBABILITIES):
        return None
    return (
        f"metric {name} takes probabilities, but the network ends in {end.layer}, which gives "
        f"{_WORDS[str(end.kind)]}: use the metric {_OF_MXNET[name]}, with its option of: {end.kind}"
    )


def _taken(loss: Component) -> tuple[Optional[str], str]:
    """Return what a named loss takes, and the option that says so; None of what takes any numbers, or is a function."""
    if loss.function is not None:
        return None, ""
    if loss.name not in _OPTIONS:
        return _LOSSES.get(loss.name), ""
    option, default, other = _OPTIONS[loss.name]
    return (other if loss.options.get(option, default) else SCORES), option


def _has_threshold(metric: Component, values: int) -> bool:
    """Tell whether a metric parts scores at its threshold of 0: one score a row, or each for itself."""
    if "threshold" not in catalog.METRICS[metric.name].options or "threshold" in metric.options:
        return False
    return metric.name == "binary_accuracy" or values == 1
