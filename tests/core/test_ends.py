"""What a network ends in, held against what losses and metrics take: all without MXNet."""

from __future__ import annotations

import math
import re
from typing import Any, Optional

import pytest

from mxspark.data.spool import Content
from mxspark.job import ends
from mxspark.job.ends import LOGARITHMS, PROBABILITIES, SCORES, End
from mxspark.job.losses import Seen
from mxspark.job.spec import Component

SOFTMAX = End("softmax s", PROBABILITIES, 0.0, 1.0)
LOG_SOFTMAX = End("log_softmax s", LOGARITHMS, -math.inf, 0.0)
DENSE = End("FullyConnected d", SCORES)
RELU = End("relu r", None, 0.0, math.inf)
TANH = End("tanh t", None, -1.0, 1.0)


@pytest.mark.parametrize(
    ("loss", "end", "says"),
    [
        (Component("softmax_cross_entropy"), DENSE, None),
        (Component("softmax_cross_entropy"), RELU, None),
        (Component("softmax_cross_entropy"), None, None),
        (Component("softmax_cross_entropy", {"from_logits": True}), LOG_SOFTMAX, None),
        (
            Component("softmax_cross_entropy", {"from_logits": True}),
            DENSE,
            "set from_logits: false beside its name, or end the network in a log_softmax",
        ),
        (Component("softmax_cross_entropy", {"from_logits": True}), SOFTMAX, "put a log_softmax in its place"),
        (
            Component("kl_div"),
            DENSE,
            "kl_div takes logarithms of probabilities with from_logits: true, but the network",
        ),
        (Component("kl_div"), LOG_SOFTMAX, None),
        (Component("kl_div", {"from_logits": False}), DENSE, None),
        (Component("sigmoid_binary_cross_entropy", {"from_sigmoid": True}), DENSE, "or end the network in a sigmoid"),
        (Component("sigmoid_binary_cross_entropy", {"from_sigmoid": True}), LOG_SOFTMAX, "put a sigmoid in its place"),
        (Component("sigmoid_binary_cross_entropy", {"from_sigmoid": True}), SOFTMAX, None),
        (Component("l2"), SOFTMAX, None),
    ],
)
def test_a_loss_that_would_be_another_function_is_refused(
    loss: Component, end: Optional[End], says: Optional[str]
) -> None:
    found = ends.loss_refusal(loss, end)
    assert (says in (found or "")) if says else found is None, found


@pytest.mark.parametrize(
    ("loss", "end", "says"),
    [
        (
            Component("softmax_cross_entropy"),
            SOFTMAX,
            "takes scores, and the network ends in softmax s, which gives prob",
        ),
        (Component("softmax_cross_entropy"), LOG_SOFTMAX, None),
        (Component("softmax_cross_entropy"), DENSE, None),
        (Component("sigmoid_binary_cross_entropy"), SOFTMAX, "leave it out, or set from_sigmoid: true beside its name"),
        (Component("sigmoid_binary_cross_entropy"), LOG_SOFTMAX, "which gives logarithms of probabilities: it trains"),
        (Component("sigmoid_binary_cross_entropy", {"from_sigmoid": True}), SOFTMAX, None),
        (Component("logistic"), SOFTMAX, "than without that layer; leave it out"),
        (Component("hinge"), DENSE, None),
        (Component("kl_div", {"from_logits": False}), SOFTMAX, "kl_div takes scores"),
        (Component("l1"), SOFTMAX, None),
    ],
)
def test_a_layer_that_does_a_loss_harm_is_warned_of(loss: Component, end: End, says: Optional[str]) -> None:
    found = ends.loss_warning(loss, end)
    assert (says in (found or "")) if says else found is None, found


@pytest.mark.parametrize(
    ("low", "high", "end", "says"),
    [
        (0.0, 1.0, SOFTMAX, None),
        (0.0, 7.0, SOFTMAX,
         "label 'y' has values from 0 to 7, and the network ends in softmax s, whose values are between 0 and 1: it "
         "cannot reach them; leave that layer out, or scale the labels"),
        (-1.0, 7.0, RELU, "whose values are from 0 on: it cannot reach them"),
        (0.0, 7.0, RELU, None),
        (-9.0, 7.0, DENSE, None),
        (-9.0, 7.0, None, None),
    ],
)  # fmt: skip
def test_labels_that_no_output_can_reach_are_warned_of(low: float, high: float, end: End, says: Optional[str]) -> None:
    found = ends.range_warning(Component("l2"), "y", seen(low, high), end)
    assert (says in (found or "")) if says else found is None, found
    assert ends.range_warning(Component("hinge"), "y", seen(low, high), DENSE) is None


def seen(low: float, high: float, is_whole: bool = True) -> Seen:
    return Seen((), low, high, Content(is_whole=is_whole, has_zero=low == 0, sums=(low, high)))


@pytest.mark.parametrize(
    ("loss", "end", "says"),
    [
        (Component("sigmoid_binary_cross_entropy"), RELU, "tells two classes by the sign of a score, and the"),
        (Component("hinge"), RELU, "whose values are from 0 on: leave that layer out"),
        (Component("hinge"), TANH, None),
        (Component("logistic"), TANH, "so that no probability comes near 0 or 1: leave that layer out"),
        (Component("softmax_cross_entropy"), TANH, "takes scores of any size, and the network ends in tanh t, whose"),
        (Component("softmax_cross_entropy"), RELU, None),
        (Component("softmax_cross_entropy"), DENSE, None),
        (Component("softmax_cross_entropy"), SOFTMAX, None),
        (Component("sigmoid_binary_cross_entropy", {"from_sigmoid": True}), RELU, None),
    ],
)
def test_scores_that_cannot_tell_the_classes_are_warned_of(loss: Component, end: End, says: Optional[str]) -> None:
    found = ends.range_warning(loss, "y", seen(0, 1), end)
    assert (says in (found or "")) if says else found is None, found


def metric(name: str, **options: Any) -> Component:
    return Component(name, options)


@pytest.mark.parametrize(
    ("component", "end", "values", "says"),
    [
        (
            metric("cross_entropy"),
            SOFTMAX,
            3,
            "metric cross_entropy takes scores, but .*: set its option of: probabilities",
        ),
        (metric("cross_entropy", of="probabilities"), SOFTMAX, 3, None),
        (metric("cross_entropy", of="probabilities"), DENSE, 3, "set its option of: scores"),
        (metric("perplexity", of="log_probabilities"), SOFTMAX, 3, "set its option of: probabilities"),
        (metric("cross_entropy"), LOG_SOFTMAX, 3, None),
        (metric("log_loss"), LOG_SOFTMAX, 1, "set its option of: log_probabilities"),
        (metric("log_loss"), SOFTMAX, 1, "set its option of: probabilities"),
        (metric("auc"), SOFTMAX, 1, None),
        (metric("auc"), SOFTMAX, 2, None),
        (metric("auc", of="probabilities"), DENSE, 1, None),
        (metric("auc", of="probabilities"), DENSE, 2, "set its option of: scores"),
        (metric("auc", of="probabilities"), LOG_SOFTMAX, 3, None),
        (metric("auc"), SOFTMAX, 3, "set its option of: probabilities"),
        (
            metric("f1"),
            SOFTMAX,
            1,
            "metric f1 takes scores, but the network ends in softmax s.*: set its option threshold",
        ),
        (metric("f1", threshold=0.5), SOFTMAX, 1, None),
        (metric("f1"), SOFTMAX, 2, None),
        (metric("binary_accuracy"), SOFTMAX, 4, "set its option threshold: 0.5"),
        (metric("binary_accuracy"), DENSE, 1, None),
        (metric("accuracy"), SOFTMAX, 3, None),
        (metric("mae"), SOFTMAX, 1, None),
    ],
)
def test_a_metric_that_takes_something_else_is_refused(component: Component, end: End, values: int, says: Any) -> None:
    found = ends.metric_refusal(component, end, values)
    assert re.search(says, found or "") if says else found is None, found


def test_a_metric_of_mxnet_takes_probabilities() -> None:
    assert ends.of_mxnet_refusal("Perplexity", SOFTMAX) is None and ends.of_mxnet_refusal("Accuracy", DENSE) is None
    found = ends.of_mxnet_refusal("Perplexity", DENSE)
    assert found is not None and found.endswith("use the metric perplexity, with its option of: scores")


@pytest.mark.parametrize(
    ("loss", "component", "values", "label", "says"),
    [
        ("l2", metric("f1"), 1, seen(0, 1), "parts the classes at its threshold of 0, but training.loss l2 brings"),
        ("huber", metric("binary_accuracy"), 3, seen(0, 1), "to the labels 0 and 1: set its option threshold: 0.5"),
        ("l2", metric("f1", threshold=0.5), 1, seen(0, 1), None),
        ("l2", metric("f1"), 1, seen(-1, 1), None),
        ("l2", metric("f1"), 2, seen(0, 1), None),
        ("l2", metric("auc"), 1, seen(0, 1), None),
        ("l2", metric("binary_accuracy"), 1, seen(0, 1, is_whole=False), None),
        ("logistic", metric("f1"), 1, seen(0, 1), None),
    ],
)
def test_a_threshold_of_scores_is_refused_for_amounts(
    loss: str, component: Component, values: int, label: Seen, says: Optional[str]
) -> None:
    found = ends.threshold_refusal(Component(loss), component, values, label)
    assert (says in (found or "")) if says else found is None, found


@pytest.mark.parametrize(
    ("loss", "component", "end", "says"),
    [
        (Component("logistic"), metric("f1", threshold=0.5), DENSE, "0.5 is a probability of 0.62: leave the option"),
        (Component("sigmoid_binary_cross_entropy"), metric("f1", threshold=0.5), None, "f1 has the threshold 0.5"),
        (Component("logistic"), metric("f1", threshold=0.5), SOFTMAX, None),
        (Component("logistic"), metric("f1", threshold=0.4), DENSE, None),
        (Component("hinge"), metric("f1", threshold=0.5), DENSE, None),
        (Component("l2"), metric("f1", threshold=0.5), DENSE, None),
        (Component("sigmoid_binary_cross_entropy", {"from_sigmoid": True}), metric("f1", threshold=0.5), DENSE, None),
    ],
)
def test_a_threshold_of_probabilities_is_warned_of_for_scores(
    loss: Component, component: Component, end: Optional[End], says: Optional[str]
) -> None:
    found = ends.threshold_warning(loss, component, 1, end)
    assert (says in (found or "")) if says else found is None, found


@pytest.mark.parametrize(
    ("options", "axis", "is_refused"),
    [
        ({"from_logits": True}, 1, True),
        ({"from_logits": True}, -1, False),
        ({"from_logits": True}, 2, False),
        ({"from_logits": True, "axis": 1}, 1, False),
        ({"from_logits": True, "axis": 1}, -1, True),
        ({"from_logits": True}, None, False),
        ({}, 1, False),
    ],
)
def test_a_softmax_along_another_axis_than_the_classes_is_refused(
    options: dict[str, Any], axis: Optional[int], is_refused: bool
) -> None:
    end = End("log_softmax s", LOGARITHMS, -math.inf, 0.0, axis)
    found = ends.axis_refusal(Component("softmax_cross_entropy", options), end, 3)
    assert bool(found) == is_refused and ("give both the same axis" in (found or "")) == is_refused


def test_the_highest_of_all_is_always_right() -> None:
    assert ends.metric_warning(metric("top_k_accuracy", k=3), (8, 3)) == (
        "metric top_k_accuracy is 1 for every row, as the network has 3 outputs: lower k"
    )
    assert ends.metric_warning(metric("top_k_accuracy", k=2), (8, 3)) is None
