"""Weighted rows: what numpy gets from the formula, with any number of workers."""

from __future__ import annotations

from dataclasses import replace

import mxnet as mx
import numpy as np
import pytest
from alone import Alone
from role_harness import make_spec, run_group

from mxspark.data.plan import VALIDATION
from mxspark.data.weights import Weighing
from mxspark.errors import DataError, InputError
from mxspark.job.spec import Component, Function
from mxspark.mx.loop.gluon import GluonTrainable
from mxspark.mx.loop.metrics import Metrics
from mxspark.protocol import events

RATE = 0.05
EPOCHS = 3
START = (np.array([0.5, 0.5]), 0.0)
COUNTS = (31, 0, 40, 22)


def linear_rows(weights=None, signs=False):
    """Make rows of two features with weights that matter: the rows that count most have another slope."""
    rng = np.random.default_rng(4)
    rows = sum(COUNTS)
    x = rng.normal(size=(rows, 2)).astype(np.float32)
    weight = np.where(np.arange(rows) % 4 == 0, 5.0, 0.1) if weights is None else weights
    slopes = np.where(weight[:, None] > 1, (2.0, -1.0), (-1.0, 3.0))
    label = (x * slopes).sum(1) + 0.3 * rng.normal(size=rows)
    return {
        "pixels": x,
        "digit": (np.sign(label) if signs else label).astype(np.float32),
        "weight": weight.astype(np.float32),
    }


def spec_of(folder, arrays, loss="l2", **changes):
    settings = {
        "counts": COUNTS,
        "network": "linear",
        "loss": Component(loss),
        "optimizer": {"name": "sgd", "learning_rate": RATE},
        "metrics": ["mae"],
        "epochs": EPOCHS,
        "every_epochs": 99,
        **changes,
    }
    return make_spec(folder, arrays=arrays, **settings)


def l2(scores, labels):
    return 0.5 * (scores - labels) ** 2, scores - labels


def logistic(scores, labels):
    return np.log1p(np.exp(-labels * scores)), -labels / (1 + np.exp(labels * scores))


def descent(spec, arrays, loss, start):
    """Train by the formula, in float64; returns parameters and, for each epoch, the loss before each step's update."""
    x, y, w = (arrays[name].astype(np.float64) for name in ("pixels", "digit", "weight"))
    slope, bias = start
    means = []
    for epoch in range(EPOCHS):
        total = 0.0
        counted = 0.0
        for ids in spec.training_data.plan.batches(epoch):
            values, pull = loss(x[ids] @ slope + bias, y[ids])
            total, counted = total + (w[ids] * values).sum(), counted + w[ids].sum()
            pull = w[ids] * pull / w[ids].sum()
            slope, bias = slope - RATE * x[ids].T @ pull, bias - RATE * pull.sum()
        means.append(total / counted)
    return np.append(slope, bias), means


def final(outcome):
    assert outcome.returncodes == [0] * len(outcome.events), outcome.logs
    found = mx.nd.load(f"{outcome.staged('checkpoint')[-1].path}/parameters.params")
    return np.concatenate([value.asnumpy().ravel() for value in found.values()])


@pytest.mark.parametrize(("loss", "formula"), [("l2", l2), ("logistic", logistic)])
def test_a_weighted_job_trains_what_the_formula_says_with_any_number_of_workers(tmp_path, loss, formula):
    arrays = linear_rows(signs=loss == "logistic")
    spec = spec_of(tmp_path, arrays, loss=loss, fraction=0.25)
    expected, means = descent(spec, arrays, formula, START)
    ids = np.concatenate(list(spec.validation_data.plan.batches(0)))
    assert spec.validation_data.plan.part == VALIDATION
    x, y, w = (arrays[name][ids].astype(np.float64) for name in ("pixels", "digit", "weight"))
    scores = x @ expected[:2] + expected[2]
    validation = {"loss": np.average(formula(scores, y)[0], weights=w)}
    validation["mae"] = np.average(np.abs(scores - y), weights=w)
    for size, hosts in ((1, None), (2, None), (3, 1)):
        outcome = run_group(spec, size, hosts=hosts)
        np.testing.assert_allclose(final(outcome), expected, rtol=2e-5, atol=1e-6)
        ends = outcome.of(events.EpochEnd)
        np.testing.assert_allclose([end.training["loss"] for end in ends], means, rtol=2e-5)
        assert ends[-1].validation == pytest.approx(validation, rel=2e-5)
        assert ends[-1].rows == spec.training_data.plan.rows, "rows are counted, not weighed"


def test_weights_of_classes_multiply_those_of_rows_in_the_loss_and_in_no_other_metric(tmp_path):
    arrays = linear_rows(signs=True)
    classes = {-1: 0.5, 1: 4.0}
    spec = spec_of(tmp_path, arrays, loss="logistic", class_weights=classes, metrics=["mae"])
    of_class = np.where(arrays["digit"] > 0, 4.0, 0.5)
    expected, means = descent(spec, {**arrays, "weight": arrays["weight"] * of_class}, logistic, START)
    for size in (1, 2):
        outcome = run_group(spec, size)
        np.testing.assert_allclose(final(outcome), expected, rtol=2e-5, atol=1e-6)
        ends = outcome.of(events.EpochEnd)
        np.testing.assert_allclose([end.training["loss"] for end in ends], means, rtol=2e-5)
    alone = {name: array for name, array in arrays.items() if name != "weight"}
    _, metrics = train(
        spec_of(tmp_path / "alone", alone, loss="logistic", class_weights=classes, epochs=1, batch_size=93)
    )
    x, y = (arrays[name].astype(np.float64) for name in ("pixels", "digit"))
    scores = x @ START[0]
    assert metrics["training"] == pytest.approx(
        {"loss": np.average(logistic(scores, y)[0], weights=of_class), "mae": np.abs(scores - y).mean()}, rel=2e-5
    )


def test_each_row_has_the_weight_of_its_class():
    labels = np.array([[3], [0], [7], [1], [-1]], np.int32)
    weighing = Weighing("w", "y", ((7, 2.0), (0, 0.5), (1, 0.0)))
    rows = {"y": labels, "w": np.array([1, 2, 3, 4, 5], np.float32)}
    assert weighing.in_loss(rows).tolist() == [1, 1, 6, 0, 5]
    assert weighing.in_metrics(rows).tolist() == [1, 2, 3, 4, 5]
    assert Weighing(None, "y", ((3, 9.0),)).in_loss(rows).tolist() == [9, 1, 1, 1, 1]
    assert weighing.arrays == ("w", "y") and not Weighing().arrays


def test_a_weight_of_a_class_that_the_network_lacks_is_refused(tmp_path):
    spec = make_spec(tmp_path, class_weights={3: 2.0, 10: 5.0})
    with pytest.raises(
        InputError, match=r"training.class_weights: 10 is no class of the network, which has 10 outputs"
    ):
        GluonTrainable(spec, Alone())


def train(spec):
    """Train in this process; returns what was trained, and its metrics."""
    trained = GluonTrainable(spec, Alone())
    trained.broadcast()
    for batch in trained.batches(range(spec.training.epochs), 0):
        trained.step(batch)
    trained.settle()
    trained.gather()
    return trained, trained.end_epoch(lambda doing: None)


def test_weights_that_are_all_the_same_change_no_bit(tmp_path):
    rows = sum(COUNTS)
    digests = set()
    for number, weight in enumerate((None, 1.0, 2.0, 1024.0)):
        arrays = linear_rows()
        del arrays["weight"]
        if weight is not None:
            arrays["weight"] = np.full(rows, weight, np.float32)
        spec = spec_of(tmp_path / str(number), arrays, optimizer={"name": "adam"})
        digests.add(train(spec)[0].digest())
    assert len(digests) == 1


def test_a_row_of_weight_0_counts_for_nothing(tmp_path):
    """As if it were not there, where it takes the place of no other in its batch."""
    arrays = linear_rows()
    rows = sum(COUNTS)
    out = np.arange(rows) % 3 == 1
    arrays["weight"][out] = 0
    spec = spec_of(tmp_path / "a", arrays, batch_size=rows)
    mended = {name: np.where(out.reshape(-1, *[1] * (a.ndim - 1)), 100, a) for name, a in arrays.items()}
    mended["weight"] = arrays["weight"]
    mended = {name: array.astype(np.float32) for name, array in mended.items()}
    (one, first), (other, second) = train(spec), train(spec_of(tmp_path / "b", mended, batch_size=rows))
    assert one.digest() == other.digest() and first == second


def test_a_step_in_which_no_row_counts_has_gradients_of_zero(tmp_path):
    """It changes nothing with this optimizer, and every value stays finite."""
    weights = np.zeros(sum(COUNTS))
    weights[7] = 3.0
    arrays = linear_rows(weights)
    arrays["digit"][:] = 1.0
    spec = spec_of(tmp_path, arrays, batch_size=10, epochs=1)
    trained, metrics = train(spec)
    expected, means = np.array([0.5, 0.5]), 0.0
    score = arrays["pixels"][7].astype(np.float64) @ expected
    (parameters,) = [np.concatenate([p.data().asnumpy().ravel() for p in trained._network.parameters.values()])]
    np.testing.assert_allclose(parameters[:2], expected - RATE * (score - 1) * arrays["pixels"][7], rtol=1e-5)
    np.testing.assert_allclose(parameters[2], means - RATE * (score - 1), rtol=1e-5)
    assert metrics["training"]["loss"] == pytest.approx(0.5 * (score - 1) ** 2, rel=1e-5)


def test_rows_of_which_none_counts_are_refused_by_name(tmp_path):
    arrays = linear_rows(np.zeros(sum(COUNTS)))
    spec = spec_of(tmp_path / "a", arrays, fraction=0.3)
    with pytest.raises(DataError, match="the weight of every training row is 0"):
        GluonTrainable(spec, Alone())
    drawn = np.concatenate(list(spec.validation_data.plan.batches(0)))
    arrays["weight"][:] = 1
    arrays["weight"][drawn] = 0
    with pytest.raises(DataError, match="the weight of every validation row is 0"):
        GluonTrainable(spec_of(tmp_path / "b", arrays, fraction=0.3), Alone())


def test_a_metric_that_cannot_weigh_is_refused_when_it_is_made(tmp_path):
    metric = Component("mine", function=Function.ship(lambda: mx.metric.MAE()))
    spec = spec_of(tmp_path, linear_rows())
    spec = replace(spec, training=replace(spec.training, metrics=(metric,)))
    with pytest.raises(
        InputError, match=r"training.metrics: mine is an mxnet.metric.EvalMetric, which counts every row"
    ):
        GluonTrainable(spec, Alone())


def test_metrics_are_weighed_however_rows_are_divided():
    rng = np.random.default_rng(0)
    scores, labels, weights = rng.normal(size=(50, 3)), rng.integers(0, 3, 50), rng.random(50) * 9
    loss = rng.random(50).astype(np.float32)
    names = ["accuracy", "cross_entropy", "perplexity"]
    right = Function.ship(lambda labels, outputs: outputs.argmax(1) == labels)
    components = [*map(Component, names), Component("mine", function=right)]
    total = 0
    for part in np.array_split(np.arange(50), 4):
        rank = Metrics(components, weighed_by="data.weight")
        for rows in np.array_split(part, 3):
            rank.add(loss[rows], [scores[rows]], [labels[rows]], weights[rows])
        total = total + rank.sums()
    found = rank.finish(total)
    hits = np.average(scores.argmax(1) == labels, weights=weights)
    logs = np.log(np.exp(scores).sum(1)) - scores[np.arange(50), labels]
    entropy = np.average(logs, weights=weights)
    assert found == pytest.approx(
        {
            "loss": np.average(loss, weights=weights), "accuracy": hits, "mine": hits,
            "cross_entropy": entropy, "perplexity": np.exp(entropy),
        }
    )  # fmt: skip
