"""What a network ends in, held against what losses and metrics take: all without MXNet."""

from __future__ import annotations

import math
from typing import Any, Optional

import pytest

from mxspark.job import ends
from mxspark.job.ends import LOGARITHMS, PROBABILITIES, SCORES, End
from mxspark.job.spec import Component

SOFTMAX = End("softmax s", PROBABILITIES, 0.0, 1.0)
LOG_SOFTMAX = End("log_softmax s", LOGARITHMS, -math.inf, 0.0)
DENSE = End("FullyConnected d", SCORES)
RELU = End("relu r", None, 0.0, math.inf)


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
            "set from_logits: false beside its name, for s",
        ),
        (Component("softmax_cross_entropy", {"from_logits": True}), SOFTMAX, "or end the network in a log_softmax"),
        (
            Component("kl_div"),
            DENSE,
            "kl_div takes logarithms of probabilities with from_logits: true, but the network",
        ),
        (Component("kl_div"), LOG_SOFTMAX, None),
        (Component("kl_div", {"from_logits": False}), DENSE, None),
        (Component("sigmoid_binary_cross_entropy", {"from_sigmoid": True}), DENSE, "or end the network in a sigmoid"),
        (Component("sigmoid_binary_cross_entropy", {"from_sigmoid": True}), SOFTMAX, None),
        (Component("l2"), SOFTMAX, None),
    ],
)
def test_a_loss_that_would_be_another_function_is_refused(
    loss: Component, end: Optional[End], says: Optional[str]
) -> None:
    assert says in (found := ends.loss_refusal(loss, end) or "") if says else not ends.loss_refusal(loss, end), found


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
    found = ends.range_warning(Component("l2"), "y", low, high, end)
    assert (says in (found or "")) if says else found is None, found
    assert ends.range_warning(Component("hinge"), "y", low, high, end) is None


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
    import re

    found = ends.metric_refusal(component, end, values)
    assert re.search(says, found or "") if says else found is None, found


def test_a_metric_of_mxnet_takes_probabilities() -> None:
    assert ends.of_mxnet_refusal("Perplexity", SOFTMAX) is None and ends.of_mxnet_refusal("Accuracy", DENSE) is None
    found = ends.of_mxnet_refusal("Perplexity", DENSE)
    assert found is not None and found.endswith("use the metric perplexity, with its option of: scores")
