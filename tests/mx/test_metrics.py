"""Metrics: the values of MXNet's own, and sums that do not depend on how rows are divided."""

from __future__ import annotations

import math
import time
from typing import Any

import mxnet as mx
import numpy as np
import pytest

from mxspark.errors import TrainingCodeError
from mxspark.job import catalog
from mxspark.job.metric import OF_MXNET
from mxspark.job.spec import Component, Function
from mxspark.mx.loop.metrics import Metrics

RNG = np.random.RandomState(5)
ROWS, CLASSES = 101, 10
SCORES = RNG.randn(ROWS, CLASSES).astype(np.float32)
PROBABILITIES = np.exp(SCORES) / np.exp(SCORES).sum(1, keepdims=True)
CLASS = RNG.randint(0, CLASSES, ROWS).astype(np.int32)
LOSS = RNG.rand(ROWS).astype(np.float32)


def user(function: Any, name: str = "mine") -> Component:
    return Component(name, function=Function.ship(function))


def value(component: Component, output: Any, label: Any) -> float:
    metrics = Metrics([component])
    metrics.add(LOSS[: len(label)], [output], [label])
    (name,) = set(metrics.finish(metrics.sums())) - {"loss"}
    return metrics.finish(metrics.sums())[name]


def stock(metric: Any, output: Any, label: Any) -> float:
    metric.update([mx.nd.array(label, dtype=label.dtype)], [mx.nd.array(output, dtype=output.dtype)])
    return float(metric.get()[1])


@pytest.mark.parametrize(
    ("component", "output", "label", "metric"),
    [
        (Component("accuracy"), SCORES, CLASS, mx.metric.Accuracy()),
        (Component("accuracy"), SCORES, CLASS.reshape(-1, 1), mx.metric.Accuracy()),
        (Component("accuracy"), SCORES.reshape(ROWS, 2, 5), CLASS.repeat(5).reshape(ROWS, 5) % 2, mx.metric.Accuracy()),
        (Component("top_k_accuracy", {"k": 3}), SCORES, CLASS, mx.metric.TopKAccuracy(3)),
        (Component("top_k_accuracy", {"k": 10}), SCORES, CLASS, mx.metric.TopKAccuracy(10)),
        (Component("cross_entropy", {"of": "probabilities"}), PROBABILITIES, CLASS, mx.metric.CrossEntropy()),
        (Component("cross_entropy", {"of": "log_probabilities"}), np.log(PROBABILITIES), CLASS, "probabilities"),
        (Component("cross_entropy"), SCORES, CLASS, "probabilities"),
        (Component("cross_entropy"), SCORES + 1000, CLASS, "probabilities"),
        (Component("perplexity"), SCORES, CLASS, "perplexity"),
        (Component("mae"), SCORES, SCORES[::-1], mx.metric.MAE()),
        (Component("mse"), SCORES, SCORES[::-1], mx.metric.MSE()),
        (Component("rmse"), SCORES, SCORES[::-1], mx.metric.RMSE()),
        (Component("mae"), SCORES[:, :1], CLASS, mx.metric.MAE()),
    ],
)
def test_values_are_those_of_mxnet(component: Component, output: Any, label: Any, metric: Any) -> None:
    if metric == "probabilities":
        expected = stock(mx.metric.CrossEntropy(), PROBABILITIES, label)
    elif metric == "perplexity":
        expected = stock(mx.metric.Perplexity(ignore_label=None), PROBABILITIES, label)
    else:
        expected = stock(metric, output, label)
    assert value(component, output, label) == pytest.approx(expected, rel=2e-5)


def test_binary_accuracy() -> None:
    label = np.array([1, 0, 1, 1], np.float32)
    assert value(Component("binary_accuracy"), np.array([[0.2], [-3.0], [-0.1], [4.0]]), label) == 0.75
    assert value(Component("binary_accuracy", {"threshold": 0.5}), np.array([0.2, 0.6, 0.7, 0.9]), label) == 0.5


def row_margin(labels: Any, outputs: Any) -> Any:
    return outputs[np.arange(len(outputs)), labels] - outputs.max(1)


def make_row_margin() -> Any:
    return row_margin


ALL = [
    *(Component(name, {"k": 2} if name == "top_k_accuracy" else {}) for name in ("accuracy", "top_k_accuracy")),
    Component("cross_entropy"),
    Component("perplexity"),
    user(row_margin, "margin"),
    user(make_row_margin, "made"),
    user(lambda: mx.metric.TopKAccuracy(4), "of_mxnet"),
]


def test_sums_over_any_division_into_batches_and_ranks_add_up_to_the_whole() -> None:
    whole = Metrics(ALL)
    whole.add(LOSS, [SCORES], [CLASS])
    total = np.zeros_like(whole.sums())
    for part in np.array_split(np.arange(ROWS), 3):
        rank = Metrics(ALL)
        for batch in np.array_split(part, 5):
            rank.add(LOSS[batch], [SCORES[batch]], [CLASS[batch]])
        rank.add(LOSS[:0], [SCORES[:0]], [CLASS[:0]])
        total += rank.sums()
    assert total.dtype == np.float64 and total[0] == ROWS
    expected = whole.finish(whole.sums())
    assert set(expected) == {"loss", *(component.name for component in ALL)}
    assert whole.finish(total) == pytest.approx(expected, rel=1e-12)
    assert expected["loss"] == pytest.approx(LOSS.astype(np.float64).mean(), rel=1e-12)
    assert expected["margin"] == pytest.approx(expected["made"]) and expected["of_mxnet"] > expected["accuracy"]


def test_reset_forgets_and_can_take_up_a_half_epoch() -> None:
    metrics = Metrics(ALL)
    metrics.add(LOSS[:50], [SCORES[:50]], [CLASS[:50]])
    half = metrics.sums()
    metrics.reset()
    assert not metrics.sums().any() and half.any(), "what sums() gave does not change"
    metrics.reset(half)
    metrics.add(LOSS[50:], [SCORES[50:]], [CLASS[50:]])
    whole = Metrics(ALL)
    whole.add(LOSS, [SCORES], [CLASS])
    assert metrics.finish(metrics.sums()) == pytest.approx(whole.finish(whole.sums()), rel=1e-12)


def test_no_row_is_nan_and_not_zero() -> None:
    metrics = Metrics(ALL)
    assert all(math.isnan(each) for each in metrics.finish(metrics.sums()).values())


def test_two_of_a_name_keep_two_values() -> None:
    metrics = Metrics([Component("top_k_accuracy", {"k": k}) for k in (1, 10)])
    metrics.add(LOSS, [SCORES], [CLASS])
    values = metrics.finish(metrics.sums())
    assert set(values) == {"loss", "top_k_accuracy", "top_k_accuracy_2"} and values["top_k_accuracy_2"] == 1.0


def test_options_choose_among_several_arrays() -> None:
    metrics = Metrics([Component("accuracy", {"output": 1, "label": 1}), Component("mae")])
    metrics.add(LOSS, [SCORES[:, 0], SCORES], [SCORES[:, 1], CLASS])
    values = metrics.finish(metrics.sums())
    assert values["accuracy"] == value(Component("accuracy"), SCORES, CLASS)
    assert values["mae"] == pytest.approx(np.abs(SCORES[:, 0] - SCORES[:, 1]).mean(), rel=1e-6)


@pytest.mark.parametrize(
    ("component", "output", "label", "says"),
    [
        (Component("accuracy"), SCORES[:, :1], CLASS, r"one score a class; this one has shape \(101, 1\): use binary"),
        (
            Component("accuracy"),
            SCORES,
            SCORES,
            r"labels of shape \(101, 10\) do not fit predictions of shape \(101,\)",
        ),
        (Component("top_k_accuracy", {"k": 11}), SCORES, CLASS, "at least 11 scores a row; .*: lower k"),
        (Component("mae"), SCORES, CLASS, "metric mae: labels of shape"),
        (Component("cross_entropy"), SCORES.reshape(ROWS, 2, 5), CLASS, "one score a class and row"),
        (Component("accuracy", {"output": 2}), SCORES, CLASS, "array 2 was asked for and there are 1"),
        (user(lambda labels, outputs: outputs), SCORES, CLASS, r"returned shape \(101, 10\) for 101 rows: return one"),
        (user(lambda labels, outputs: 0.5), SCORES, CLASS, r"returned shape \(\) for 101 rows"),
        (user(lambda: 3), SCORES, CLASS, "returned a int: give a function of"),
    ],
)
def test_what_does_not_fit_is_named(component: Component, output: Any, label: Any, says: str) -> None:
    with pytest.raises(TrainingCodeError, match=says):
        value(component, output, label)


def test_every_named_metric_is_there() -> None:
    for name, known in catalog.METRICS.items():
        options = {"k": 2} if name == "top_k_accuracy" else {}
        Metrics([Component(name, options)])
        assert known.better == ("max" if "accuracy" in name else "min")


def test_every_metric_of_mxnet_has_a_direction() -> None:
    """All but those that only wrap others."""
    kinds = [
        kind for kind in vars(mx.metric).values() if isinstance(kind, type) and issubclass(kind, mx.metric.EvalMetric)
    ]
    wrappers = {"EvalMetric", "CompositeEvalMetric", "CustomMetric"}
    assert {kind.__name__ for kind in kinds if not kind.__name__.startswith("_")} - wrappers == set(OF_MXNET)


def test_a_batch_costs_tens_of_microseconds() -> None:
    metrics = Metrics([Component("accuracy")])
    times = []
    for _ in range(300):
        start = time.perf_counter()
        metrics.add(LOSS[:64], [SCORES[:64]], [CLASS[:64]])
        times.append(time.perf_counter() - start)
    assert min(times) < 200e-6
    print(f"accuracy and loss of 64 x 10: {min(times) * 1e6:.0f} us")
