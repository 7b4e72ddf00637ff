"""Metrics: the values of MXNet's own, and sums that do not depend on how rows are divided."""

from __future__ import annotations

import math
import time
from typing import Any

import mxnet as mx
import numpy as np
import obvious
import pytest

from mxspark.errors import InputError, MXSparkError, TrainingCodeError
from mxspark.job import catalog, losses
from mxspark.job.metric import OF_MXNET, value_names
from mxspark.job.spec import Component, Function
from mxspark.mx.loop.arrays import Shapes
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
    metrics = Metrics([component], Shapes((output.shape[1:],), (label.shape[1:],)))
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


def test_the_classes_of_a_sequence_are_where_its_labels_have_none() -> None:
    """Scores of (rows, steps, classes), with as many steps as classes too, where only the option tells."""
    for steps in (4, 3):
        labels = RNG.randint(0, 3, (ROWS, steps))
        right = np.eye(3)[labels]
        right[: ROWS // 2] = -right[: ROWS // 2]
        options = {"axis": -1} if steps == 3 else {}
        expected = np.mean(right.argmax(-1) == labels)
        assert value(Component("accuracy", options), right, labels) == pytest.approx(expected, abs=1e-12)


def test_a_row_that_counts_for_nothing_may_have_no_value() -> None:
    metrics = Metrics([user(lambda labels, outputs: np.where(labels == 0, np.inf, outputs))], Shapes(((),), ((),)))
    weights = np.array([1.0, 0.0, 3.0])
    metrics.add(LOSS[:3], [np.array([5.0, 1.0, 1.0])], [np.array([1.0, 0.0, 2.0])], weights)
    assert metrics.finish(metrics.sums())["mine"] == 2.0


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
    *(Component(name, {"average": average}) for name in ("f1", "recall") for average in ("macro", "micro")),
    Component("confusion", {"class": 3}),
    Component("log_loss"),
]
SHAPES = Shapes(((CLASSES,),), ((),))


def test_sums_over_any_division_into_batches_and_ranks_add_up_to_the_whole() -> None:
    whole = Metrics(ALL, SHAPES)
    whole.add(LOSS, [SCORES], [CLASS])
    table = []
    for part in np.array_split(np.arange(ROWS), 3):
        rank = Metrics(ALL, SHAPES)
        for batch in np.array_split(part, 5):
            rank.add(LOSS[batch], [SCORES[batch]], [CLASS[batch]])
        rank.add(LOSS[:0], [SCORES[:0]], [CLASS[:0]])
        table.append(rank.sums())
    total = whole.merge(np.stack(table))
    assert total.dtype == np.float64 and total[0] == ROWS
    expected = whole.finish(whole.sums())
    assert list(expected) == ["loss", *value_names(ALL)]
    assert whole.finish(total) == pytest.approx(expected, rel=1e-12)
    assert expected["loss"] == pytest.approx(LOSS.astype(np.float64).mean(), rel=1e-12)
    assert expected["margin"] == pytest.approx(expected["made"]) and expected["of_mxnet"] > expected["accuracy"]


def test_reset_forgets_and_can_take_up_a_half_epoch() -> None:
    metrics = Metrics(ALL, SHAPES)
    metrics.add(LOSS[:50], [SCORES[:50]], [CLASS[:50]])
    half = metrics.sums()
    metrics.reset()
    assert not metrics.sums().any() and half.any(), "what sums() gave does not change"
    metrics.reset(half)
    metrics.add(LOSS[50:], [SCORES[50:]], [CLASS[50:]])
    whole = Metrics(ALL, SHAPES)
    whole.add(LOSS, [SCORES], [CLASS])
    assert metrics.finish(metrics.sums()) == pytest.approx(whole.finish(whole.sums()), rel=1e-12)


def test_no_row_is_nan_and_not_zero() -> None:
    metrics = Metrics(ALL, SHAPES)
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


ONE_HOT = np.eye(CLASSES, dtype=np.float32)[CLASS]
PAIRED = (
    r"metric mine gives a row a value that depends on other rows, .*: an output of shape \(101, 1\) and a label of "
    r"shape "
    r"\(101,\) broadcast to \(101, 101\), which pairs every row with every other; write labels.reshape\(outputs.shape\)"
)


@pytest.mark.parametrize(
    ("component", "output", "label", "says"),
    [
        (Component("accuracy"), SCORES[:, :1], CLASS, r"one score a class; this one has shape \(101, 1\): use binary"),
        (
            Component("accuracy"),
            SCORES,
            CLASS.repeat(3).reshape(ROWS, 3),
            r"labels of shape \(101, 3\) do not fit predictions of shape \(101,\)",
        ),
        (
            Component("accuracy"),
            np.zeros((ROWS, 3, 3)),
            np.zeros((ROWS, 3)),
            r"cannot tell where the classes are .* set its option axis to one of 1, 2",
        ),
        (
            Component("accuracy"),
            SCORES,
            ONE_HOT,
            r"have one value for each of the 10: .* returns labels.argmax\(1\) ==",
        ),
        (Component("top_k_accuracy", {"k": 2}), SCORES, ONE_HOT, r"that returns \(outputs.argsort\(1\)\[:, -k:\] == "),
        (Component("cross_entropy"), SCORES, ONE_HOT, "for each of the 10: give a function .* returns one value a row"),
        (Component("perplexity"), SCORES, ONE_HOT, "metric cross_entropy takes the index of a class"),
        (Component("log_loss"), SCORES, ONE_HOT, r"log_loss takes one label a row, and these have shape \(101, 10\)"),
        (
            Component("top_k_accuracy", {"k": 2}),
            SCORES,
            CLASS.repeat(2).reshape(ROWS, 2),
            "metric top_k_accuracy: labels",
        ),
        (Component("cross_entropy"), SCORES, CLASS.repeat(2).reshape(ROWS, 2), "metric cross_entropy: labels of shape"),
        (
            Component("accuracy"),
            SCORES,
            CLASS + 1,
            "accuracy takes labels from 0 to 9 for an output of 10 .* from 1 to 10",
        ),
        (
            Component("top_k_accuracy", {"k": 2}),
            SCORES,
            CLASS + 1,
            "takes labels from 0 to 9 for an output of 10 scores",
        ),
        (Component("cross_entropy"), SCORES, CLASS + 1, "takes labels from 0 to 9 for an output of 10 scores"),
        (Component("cross_entropy"), SCORES, CLASS - 1, "here they go from -1 to 8: map the labels to that"),
        (Component("accuracy", {"axis": 2}), SCORES, CLASS, r"axis 2, but the output has shape \(101, 10\): set it to"),
        (Component("top_k_accuracy", {"k": 11}), SCORES, CLASS, "at least 11 scores a row; .*: lower k"),
        (Component("mae"), SCORES, CLASS, "metric mae: labels of shape"),
        (Component("cross_entropy"), SCORES.reshape(ROWS, 2, 5), CLASS, "one score a class and row"),
        (Component("accuracy", {"axis": -2}), SCORES, CLASS, r"axis -2, which is that of the rows"),
        (Component("f1"), SCORES, CLASS, "f1 is of one class, and the output has 10: set its option average: macro"),
        (Component("confusion"), SCORES, CLASS, "the output has 10: set its option class to say of which"),
        (Component("f1", {"class": 10}), SCORES, CLASS, "is of class 10, and the output has 10, counted from 0"),
        (Component("f1", {"threshold": 0.5}), SCORES, CLASS, "the output has 10, of which the highest counts: remove"),
        (Component("f1", {"average": "micro"}), SCORES[:, :1], CLASS, "average, which is for one score a class"),
        (Component("f1"), SCORES[:, 0], CLASS, "labels from 0 to 1 for an output of 1 score a row; .* from 0 to 9"),
        (Component("f1"), SCORES, SCORES, r"needs one label a row; this one has shape \(10,\)"),
        (Component("f1"), SCORES.reshape(ROWS, 2, 5), CLASS, r"a row of this output has shape \(2, 5\)"),
        (Component("auc"), SCORES, CLASS, "auc is of one class, and the output has 10: set its option class"),
        (Component("pr_auc", {"class": 1}), SCORES[:, :1], CLASS, "class, which is for one score a class"),
        (Component("log_loss"), SCORES[:, 0], CLASS, "labels from 0 to 1 for an output of 1 score"),
        (Component("log_loss", {"of": "probabilities"}), SCORES, CLASS, "of probabilities, and the output goes from -"),
        (
            Component("log_loss", {"of": "log_probabilities"}),
            SCORES,
            CLASS,
            "of log_probabilities, and the output goes",
        ),
        (
            Component("cross_entropy", {"of": "probabilities"}),
            SCORES,
            CLASS,
            "metric cross_entropy is of probabilities, ",
        ),
        (
            Component("perplexity", {"of": "probabilities"}),
            SCORES,
            CLASS,
            "perplexity is .*: set its option of: scores",
        ),
        (
            Component("cross_entropy", {"of": "log_probabilities"}),
            SCORES,
            CLASS,
            ".*, or end the network in a log_soft",
        ),
        (
            user(lambda: mx.metric.CrossEntropy()),
            SCORES,
            CLASS,
            "takes probabilities, .*: use the metric cross_entropy",
        ),
        (Component("r2"), SCORES, CLASS, r"metric r2: labels of shape \(101,\) do not fit"),
        (Component("pearson"), SCORES, CLASS, r"pearson needs one value a row; a row of this output has shape \(10,\)"),
        (user(lambda: mx.metric.MAE()), SCORES, CLASS, "metric MAE: labels of shape"),
        (
            user(lambda: mx.metric.MSE()),
            SCORES.reshape(ROWS, 5, 2),
            SCORES.reshape(ROWS, 2, 5),
            "metric MSE: .* in another",
        ),
        (Component("mae"), SCORES.reshape(ROWS, 5, 2), SCORES.reshape(ROWS, 2, 5), "in another order of axes, and one"),
        (
            Component("r2"),
            SCORES.reshape(ROWS, 5, 2),
            SCORES.reshape(ROWS, 2, 5),
            "transpose one of them, in the network",
        ),
        (
            user(lambda: mx.metric.Accuracy()),
            SCORES,
            ONE_HOT,
            "metric Accuracy takes the index of a class, and labels of",
        ),
        (
            user(lambda: mx.metric.Accuracy()),
            SCORES[:, :1],
            CLASS,
            "metric Accuracy .* always the first: use the metric bin",
        ),
        (
            user(lambda: mx.metric.Accuracy()),
            SCORES,
            CLASS + 1,
            "metric Accuracy takes labels from 0 to 9 .* from 1 to 10",
        ),
        (user(lambda: mx.metric.TopKAccuracy(2)), SCORES, CLASS - 1, "metric TopKAccuracy takes labels from 0 to 9"),
        (
            user(lambda: mx.metric.CrossEntropy()),
            PROBABILITIES,
            CLASS - 1,
            "metric CrossEntropy takes labels from 0 to 9",
        ),
        (user(lambda: mx.metric.CrossEntropy()), PROBABILITIES, CLASS + 0.5, "CrossEntropy takes labels from 0 to 9"),
        (
            user(lambda: mx.metric.Perplexity(-1)),
            PROBABILITIES,
            CLASS + 1,
            "metric Perplexity takes labels from 0 to 9",
        ),
        (
            user(lambda: mx.metric.Perplexity(None)),
            SCORES[:, :1],
            CLASS,
            "metric Perplexity .*: use the metric log_loss",
        ),
        (user(lambda: mx.metric.create(["acc", "f1"])), SCORES, CLASS, "a CompositeEvalMetric of Accuracy, F1: give"),
        (Component("accuracy", {"output": 2}), SCORES, CLASS, "array 2 was asked for and there are 1"),
        (user(lambda labels, outputs: outputs), SCORES, CLASS, r"returned shape \(101, 10\) for 101 rows: return one"),
        (user(lambda labels, outputs: 0.5), SCORES, CLASS, r"returned shape \(\) for 101 rows"),
        (user(lambda: 3), SCORES, CLASS, "returned a int: give a function of"),
        (user(lambda labels, outputs: np.abs(labels - outputs).mean(1)), SCORES[:, :1], CLASS, PAIRED),
        (user(lambda labels, outputs: np.abs(labels - outputs).mean(0)), SCORES[:, :1], CLASS, PAIRED),
        (
            user(lambda labels, outputs: outputs[:, 0].argsort().argsort()),
            SCORES,
            CLASS,
            r"depends on other rows, and so is another number for every batch size and number of workers; make it of "
            r"its row alone, or return an mxnet.metric.EvalMetric from a function without arguments",
        ),
    ],
)
def test_what_does_not_fit_is_named(component: Component, output: Any, label: Any, says: str) -> None:
    with pytest.raises(MXSparkError, match=says) as raised:
        value(component, output, label)
    # what is named in the job file is the user's input, and what a function gives its code
    is_input = component.function is None or any(f"metric {name} " in f"{raised.value} " for name in OF_MXNET)
    is_input = is_input or "metric MAE:" in says or "metric MSE:" in says
    assert raised.value.exit_code == (InputError if is_input else TrainingCodeError).exit_code


def test_what_the_messages_advise_for_labels_of_one_value_a_class_is_what_indices_give() -> None:
    for name, options, function in (
        ("accuracy", {}, lambda labels, outputs: labels.argmax(1) == outputs.argmax(1)),
        (
            "top_k_accuracy",
            {"k": 3},
            lambda labels, outputs: (outputs.argsort(1)[:, -3:] == labels.argmax(1)[:, None]).any(1),
        ),
    ):
        assert value(user(function), SCORES, ONE_HOT) == value(Component(name, options), SCORES, CLASS)


def test_functions_of_one_row_pass_whatever_their_shapes() -> None:
    column = SCORES[:, :1]
    expected = pytest.approx(float(np.abs(CLASS - column[:, 0]).mean()), rel=1e-6)
    assert (
        value(user(lambda labels, outputs: np.abs(labels.reshape(outputs.shape) - outputs)[:, 0]), column, CLASS)
        == expected
    )
    assert value(user(lambda labels, outputs: np.abs(labels - outputs[:, 0])), column, CLASS) == expected
    assert value(user(lambda labels, outputs: np.random.random(len(labels))), column, CLASS) < 1
    same = np.ones(5)
    assert value(user(lambda labels, outputs: np.abs(labels - outputs).mean(1)), column[:5], same) > 0, (
        "no harm is done"
    )


def test_every_named_metric_is_there() -> None:
    lower = {"cross_entropy", "perplexity", "log_loss", "mae", "mse", "rmse"}
    for name, known in catalog.METRICS.items():
        options = {"k": 2} if name == "top_k_accuracy" else {}
        made = Metrics([Component(name, options)], Shapes(((2,) if name == "top_k_accuracy" else (),), ((),)))
        assert (name in made.whole) == known.needs_all
        assert bool(known.parts) or known.better == ("min" if name in lower else "max")


def test_every_metric_of_mxnet_has_a_direction() -> None:
    """All but those that only wrap others."""
    kinds = [
        kind for kind in vars(mx.metric).values() if isinstance(kind, type) and issubclass(kind, mx.metric.EvalMetric)
    ]
    wrappers = {"EvalMetric", "CompositeEvalMetric", "CustomMetric"}
    assert {kind.__name__ for kind in kinds if not kind.__name__.startswith("_")} - wrappers == set(OF_MXNET)


BINARY = (SCORES[:, 0] + RNG.randn(ROWS) > 0.3).astype(np.float32)
FEW = np.round(SCORES[:, 0], 0)  # of many ties
ONES = np.ones(ROWS)
GUESS = SCORES.argmax(1)


@pytest.mark.parametrize("name", ["f1", "precision", "recall"])
def test_scores_of_classes_are_those_of_their_definition(name: str) -> None:
    tp, fp, fn, _ = obvious.counts(BINARY, FEW > 0, ONES)
    assert value(Component(name), FEW, BINARY) == pytest.approx(obvious.score(name, tp, fp, fn), rel=1e-14)
    tp, fp, fn, _ = obvious.counts(BINARY, FEW > 0.5, ONES)
    assert value(Component(name, {"threshold": 0.5}), FEW.reshape(-1, 1), BINARY) == pytest.approx(
        obvious.score(name, tp, fp, fn), rel=1e-14
    )
    two = np.stack([-FEW, FEW], axis=1)
    expected = obvious.score(name, *obvious.counts(BINARY, two.argmax(1), ONES)[:3])
    assert value(Component(name), two, BINARY) == pytest.approx(expected, rel=1e-14)
    for average in ("macro", "micro", "weighted"):
        expected = obvious.averaged(name, average, CLASS % 7, GUESS, ONES)  # three classes are only guessed
        assert value(Component(name, {"average": average}), SCORES, CLASS % 7) == pytest.approx(expected, rel=1e-14)
    expected = obvious.score(name, *obvious.counts(CLASS, GUESS, ONES, 4)[:3])
    assert value(Component(name, {"class": 4}), SCORES, CLASS) == pytest.approx(expected, rel=1e-14)


def test_a_class_that_is_nowhere_is_not_averaged_and_what_divides_by_nothing_is_0() -> None:
    scores = np.eye(5)[[0, 1, 1, 2]]
    label = np.array([0, 1, 2, 2])
    # of 0: 1; of 1: 2 * 1 / (2 + 1); of 2: 2 * 1 / (2 + 1); 3 and 4 are neither a label nor a guess
    assert value(Component("f1", {"average": "macro"}), scores, label) == pytest.approx((1 + 2 / 3 + 2 / 3) / 3)
    assert value(Component("precision"), np.array([-1.0, -2.0]), np.array([1, 0])) == 0.0
    assert value(Component("recall"), np.array([1.0, -2.0]), np.array([0, 0])) == 0.0


def test_confusion_has_a_value_for_each_count() -> None:
    metrics = Metrics([Component("confusion"), Component("confusion", {"threshold": 1.0})], Shapes(((),), ((),)))
    metrics.add(LOSS, [FEW], [BINARY])
    values = metrics.finish(metrics.sums())
    for name, threshold in (("confusion", 0.0), ("confusion_2", 1.0)):
        expected = obvious.counts(BINARY, FEW - threshold > 0, ONES)
        assert [values[f"{name}_{part}"] for part in ("tp", "fp", "fn", "tn")] == expected
    assert sum(values[f"confusion_{part}"] for part in ("tp", "fp", "fn", "tn")) == ROWS


WEIGHTS = RNG.randint(0, 4, ROWS) * RNG.rand(ROWS)  # some rows count nothing


def test_new_metrics_are_weighed_however_rows_are_divided() -> None:
    """As by scikit-learn's sample_weight; the others are in test_weighted_training.py."""
    options = [{"average": "macro"}, {"average": "micro"}, {"average": "weighted"}, {"class": 3}]
    components = [
        *(Component("f1", each) for each in options),
        Component("log_loss"),
        Component("confusion", options[3]),
    ]
    target, guess = SCORES[:, 1], SCORES[:, 1] + RNG.randn(ROWS)
    components += [Component(name, {"output": 1, "label": 1}) for name in ("r2", "pearson", "mse")]
    shapes = Shapes(((CLASSES,), ()), ((), ()))
    table = []
    for part in np.array_split(np.arange(ROWS), 3):
        rank = Metrics(components, shapes)
        for rows in np.array_split(part, 5):
            rank.add(LOSS[rows], [SCORES[rows], guess[rows]], [CLASS[rows], target[rows]], WEIGHTS[rows])
        table.append(rank.sums())
    found = rank.finish(rank.merge(np.stack(table)))
    one = obvious.counts(CLASS, GUESS, WEIGHTS, 3)
    averages = [obvious.averaged("f1", each["average"], CLASS, GUESS, WEIGHTS) for each in options[:3]]
    expected = {
        "loss": np.average(LOSS, weights=WEIGHTS),
        **dict(zip(("f1", "f1_2", "f1_3"), averages)),
        "f1_4": obvious.score("f1", *one[:3]),
        "log_loss": obvious.log_loss(CLASS, PROBABILITIES, WEIGHTS),
        **{f"confusion_{part}": count for part, count in zip(("tp", "fp", "fn", "tn"), one)},
        "r2": obvious.r2(target, guess, WEIGHTS),
        "pearson": obvious.pearson(target, guess, WEIGHTS),
        "mse": np.average(np.square(target - guess), weights=WEIGHTS),
    }
    assert found == pytest.approx(expected, rel=1e-6)


def test_log_loss_of_scores_probabilities_and_their_logarithms() -> None:
    one = 1 / (1 + np.exp(-FEW))
    expected = obvious.log_loss(BINARY, one, ONES)
    assert value(Component("log_loss"), FEW, BINARY) == pytest.approx(expected, rel=1e-6)
    for of, output in (("probabilities", one), ("log_probabilities", np.log(one))):
        assert value(Component("log_loss", {"of": of}), output, BINARY) == pytest.approx(expected, rel=1e-6)
    of_classes = obvious.log_loss(CLASS, PROBABILITIES, ONES)
    assert value(Component("log_loss"), SCORES, CLASS) == pytest.approx(of_classes, rel=1e-6)
    assert value(Component("log_loss", {"of": "probabilities"}), PROBABILITIES, CLASS) == pytest.approx(of_classes)
    certain = value(Component("log_loss", {"of": "probabilities"}), np.array([0.0, 1.0], np.float32), np.array([1, 1]))
    assert certain == pytest.approx(-math.log(np.finfo(np.float32).eps) / 2, rel=1e-6), "not infinite"


@pytest.mark.parametrize("far", [0.0, 1e6, 1e9])
@pytest.mark.parametrize("name", ["r2", "pearson"])
def test_squares_do_not_lose_the_digits_of_numbers_far_from_0(name: str, far: float) -> None:
    label = RNG.randn(ROWS) + far
    output = label + 0.5 * RNG.randn(ROWS)
    expected = getattr(obvious, name)(label, output, ONES)
    shapes = Shapes(((),), ((),))
    table = []
    for part in np.array_split(np.arange(ROWS), 4):
        rank = Metrics([Component(name)], shapes)
        for batch in np.array_split(part, 6):
            rank.add(LOSS[batch], [output[batch]], [label[batch]])
        table.append(rank.sums())
    table.insert(1, np.zeros_like(table[0]))  # a rank without rows
    metrics = Metrics([Component(name)], shapes)
    close = pytest.approx(expected, rel=1e-11 + 1e-16 * far)  # a mean has as many digits as float64 has so far from 0
    assert metrics.finish(metrics.merge(np.stack(table)))[name] == close
    assert value(Component(name), output, label) == close


def test_r2_of_several_targets_is_their_mean_and_constants_are_0_or_1() -> None:
    label = RNG.randn(ROWS, 3)
    output = label + RNG.randn(ROWS, 3)
    expected = np.mean([obvious.r2(label[:, k], output[:, k], ONES) for k in range(3)])
    assert value(Component("r2"), output, label) == pytest.approx(expected, rel=1e-12)
    assert value(Component("r2"), SCORES[:, 0], np.full(ROWS, 0.1)) == 0.0
    assert value(Component("r2"), np.full(ROWS, 0.1), np.full(ROWS, 0.1)) == 1.0
    assert math.isnan(value(Component("r2"), np.array([1.0]), np.array([2.0])))
    assert math.isnan(value(Component("pearson"), np.full(ROWS, 0.1), SCORES[:, 0]))


@pytest.mark.parametrize(
    ("make", "output", "label"),
    [
        (mx.metric.Accuracy, PROBABILITIES, CLASS),
        (lambda: mx.metric.TopKAccuracy(3), PROBABILITIES, CLASS),
        (mx.metric.CrossEntropy, PROBABILITIES, CLASS),
        (mx.metric.NegativeLogLikelihood, PROBABILITIES, CLASS),
        (lambda: mx.metric.Perplexity(None), PROBABILITIES, CLASS),
        (mx.metric.MAE, SCORES, SCORES[::-1]),
        (mx.metric.MSE, SCORES, SCORES[::-1]),
        (mx.metric.Loss, SCORES, CLASS),
    ],
)
def test_metrics_of_mxnet_do_not_depend_on_how_rows_are_divided(make: Any, output: Any, label: Any) -> None:
    """Those that are streamed; the value is that of one update with all rows."""
    metrics = Metrics([user(make)], Shapes((output.shape[1:],), (label.shape[1:],)))
    assert not metrics.whole
    for batch in np.split(np.arange(ROWS), [1, 3, 50]):
        metrics.add(LOSS[batch], [output[batch]], [label[batch]])
    assert metrics.finish(metrics.sums())["mine"] == pytest.approx(stock(make(), output, label), rel=1e-5)


def test_a_class_of_the_users_is_not_taken_for_one_of_mxnets() -> None:
    class Accuracy(mx.metric.Accuracy):
        """Which may do anything."""

    assert list(Metrics([user(Accuracy), Component("mxnet.metric:F1", function=Function("", "mxnet.metric:F1"))]).whole)


def test_a_batch_costs_tens_of_microseconds() -> None:
    metrics = Metrics([Component("accuracy")])
    times = []
    for _ in range(300):
        start = time.perf_counter()
        metrics.add(LOSS[:64], [SCORES[:64]], [CLASS[:64]])
        times.append(time.perf_counter() - start)
    assert min(times) < 200e-6
    print(f"accuracy and loss of 64 x 10: {min(times) * 1e6:.0f} us")


@pytest.mark.parametrize("name", losses.OF_TWO)
@pytest.mark.parametrize("scores", [1, 2])
def test_labels_of_a_hinge_give_what_0_and_1_give(name: str, scores: int) -> None:
    if scores == 2 and name == "binary_accuracy":
        return
    output = SCORES[:, 0] if scores == 1 else SCORES[:, :2]
    binary = (CLASS % 2).astype(np.float32)
    for label in (binary, binary.astype(np.int8)):
        assert everything(name, output, label * 2 - 1) == everything(name, output, binary)


def everything(name: str, output: Any, label: Any) -> Any:
    """Return the values of a metric, whether from sums or from all rows at once."""
    shapes = Shapes((output.shape[1:],), (label.shape[1:],))
    metrics = Metrics([Component(name)], shapes)
    weights = np.ones(len(label))
    if name in metrics.whole:
        return metrics.whole[name].value(metrics.whole[name].rows([output], [label], weights), ["float32"])
    metrics.add(LOSS[: len(label)], [output], [label])
    return metrics.finish(metrics.sums())


class Swapped(mx.metric.EvalMetric):
    """Says that it takes the outputs first."""

    def __init__(self) -> None:
        super().__init__("swapped")

    def update(self, preds: Any, labels: Any) -> None:
        """Count nothing."""


@pytest.mark.parametrize(
    "make",
    [
        lambda: lambda outputs, labels: outputs[:, 0],
        Swapped,
        lambda: mx.metric.CustomMetric(lambda pred, label: 0.0),
    ],
)
def test_what_is_made_and_takes_outputs_first_is_refused(make: Any) -> None:
    with pytest.raises(TrainingCodeError, match=r"metric mine: what it returned takes .* but a metric gets the labels"):
        Metrics([user(make)], Shapes(((10,),), ((),)))
