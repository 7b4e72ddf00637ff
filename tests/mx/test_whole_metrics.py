"""Metrics over all rows of validation: the same for any number of workers and any batch size, by their definitions."""

from __future__ import annotations

import math

import mxnet as mx
import numpy as np
import obvious
import pytest
from alone import Alone, together
from role_harness import digits, make_spec, run_group

from mxspark.data.reader import Reader
from mxspark.errors import Diverged, InputError, TrainingCodeError
from mxspark.job.spec import Component, Function
from mxspark.mx.loop.arrays import Shapes
from mxspark.mx.loop.gluon import GluonTrainable
from mxspark.mx.loop.metrics import Metrics
from mxspark.mx.loop.whole import WholeMetrics
from mxspark.mx.model.export import load_model
from mxspark.protocol import events

RNG = np.random.RandomState(3)
ROWS = 97
ONE = Shapes(((),), ((),))
SCORE = np.round(RNG.randn(ROWS), 1).astype(np.float32)  # with ties
LABEL = (SCORE + RNG.randn(ROWS) > 0.5).astype(np.int32)


class InOrder(mx.metric.EvalMetric):
    """A number that every row and its place count in, of one update."""

    def __init__(self):
        super().__init__("in order")

    def update(self, labels, preds):
        assert (labels[0].dtype, preds[0].dtype) == (np.int32, np.float32)
        scores = preds[0].asnumpy().ravel()
        self.sum_metric += float((scores * np.arange(len(scores))).sum() + labels[0].asnumpy()[-1])
        self.num_inst += 1


def user(function):
    return Component("mine", function=Function.ship(function))


def divided(component, size, batch, output=SCORE, label=LABEL, shapes=ONE, weights=None):
    """Return the value on each of `size` ranks that have the rows of every batch in shares."""

    def work(exchange):
        kept = WholeMetrics(Metrics([component], shapes).whole, shapes, len(label))
        values = []
        for _ in range(2):  # epochs
            for start in range(0, len(label), batch):
                ids = np.arange(start, min(start + batch, len(label)))
                mine = np.array_split(ids, size)[exchange.rank]
                if len(mine):
                    kept.add(1000 + 2 * mine, [output[mine]], [label[mine]], None if weights is None else weights[mine])
            values.append(kept.finish(exchange, "the rows"))
        assert str(values[0]) == str(values[1]), "the second knows nothing of the first"
        return values[0]

    values = together(size, work)
    assert len(set(map(str, values))) == 1, "the same bits on every rank"
    return next(iter(values[0].values()))


@pytest.mark.parametrize(("size", "batch"), [(1, 97), (1, 10), (2, 10), (3, 4), (4, 97), (4, 2)])
def test_all_rows_count_once_and_in_their_order_however_they_are_divided(size, batch):
    ones = np.ones(ROWS)
    assert divided(Component("auc"), size, batch) == pytest.approx(obvious.auc(LABEL, SCORE, ones), rel=1e-13)
    expected = obvious.average_precision(LABEL, SCORE, ones)
    assert divided(Component("pr_auc"), size, batch) == pytest.approx(expected, rel=1e-13)
    assert divided(user(InOrder), size, batch) == pytest.approx(float((SCORE * np.arange(ROWS)).sum() + LABEL[-1]))


def test_rows_are_weighed():
    weights = RNG.randint(0, 3, ROWS) * RNG.rand(ROWS)
    for name, reference in (("auc", obvious.auc), ("pr_auc", obvious.average_precision)):
        found = divided(Component(name), 3, 10, weights=weights)
        assert found == pytest.approx(reference(LABEL, SCORE, weights), rel=1e-12)


def two(score):
    """Scores of two classes whose difference is the score."""
    return np.stack([np.full_like(score, 3.0), score + 3.0], axis=1)


def test_a_class_is_ranked_by_its_odds_against_all_others():
    shapes = Shapes(((2,),), ((),))
    ones = np.ones(ROWS)
    expected = obvious.auc(LABEL, SCORE, ones)
    assert divided(Component("auc"), 2, 10, two(SCORE), LABEL, shapes) == pytest.approx(expected, rel=1e-13)
    turned = divided(Component("auc", {"class": 0}), 2, 10, two(SCORE), LABEL, shapes)
    assert turned == pytest.approx(expected, rel=1e-13)
    scores, classes = RNG.randn(ROWS, 4), RNG.randint(0, 4, ROWS)
    probabilities = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    shapes = Shapes(((4,),), ((),))
    for name, reference in (("auc", obvious.auc), ("pr_auc", obvious.average_precision)):
        expected = reference(classes == 2, probabilities[:, 2], ones)
        assert divided(Component(name, {"class": 2}), 2, 10, scores, classes, shapes) == pytest.approx(expected)
        options = {"class": 2, "of": "probabilities"}
        assert divided(Component(name, options), 2, 10, probabilities, classes, shapes) == pytest.approx(expected)


def test_what_is_not_defined_is_nan_and_what_is_not_finite_ends_the_run():
    for label in (np.zeros(ROWS, np.int32), np.ones(ROWS, np.int32)):
        assert math.isnan(divided(Component("auc"), 2, 10, SCORE, label))
    assert divided(Component("pr_auc"), 2, 10, SCORE, np.zeros(ROWS, np.int32)) == 0.0
    with pytest.raises(Diverged, match="metric auc of the rows is nan: make it give a finite number for every row"):
        divided(Component("auc"), 1, 97, np.where(SCORE > 1, np.nan, SCORE))


@pytest.mark.parametrize(
    "make",
    [mx.metric.F1, mx.metric.MCC, mx.metric.PCC, lambda: mx.metric.F1(average="micro"), mx.metric.RMSE,
     mx.metric.PearsonCorrelation, lambda: mx.metric.np(lambda label, pred: np.median(pred[:, 1] - label))],
    ids=["F1", "MCC", "PCC", "micro", "RMSE", "pearson", "function"],
)  # fmt: skip
def test_a_metric_of_mxnet_sees_all_validation_rows_at_once(make):
    regression = isinstance(make(), (mx.metric.RMSE, mx.metric.PearsonCorrelation))
    output, shapes = (SCORE, ONE) if regression else (two(SCORE), Shapes(((2,),), ((),)))
    metric = make()
    metric.update([mx.nd.array(LABEL, dtype="int32")], [mx.nd.array(output)])
    for size, batch in ((1, 10), (3, 10), (2, 97)):
        assert divided(user(make), size, batch, output, LABEL, shapes) == pytest.approx(metric.get()[1], rel=1e-6)


class MeanError(mx.metric.EvalMetric):
    """As one writes it without a thought of shapes; `arrange` brings them into one."""

    def __init__(self, arrange=lambda label, pred: (label, pred)):
        super().__init__("mean error")
        self.arrange = arrange

    def update(self, labels, preds):
        label, pred = self.arrange(labels[0].asnumpy(), preds[0].asnumpy())
        error = np.abs(label - pred)
        self.sum_metric += float(error.sum())
        self.num_inst += error.size


def test_a_metric_of_ones_own_that_broadcasts_is_refused():
    column, shapes = SCORE.reshape(-1, 1), Shapes(((1,),), ((),))
    says = (
        r"an output of shape \(64, 1\) and a label of shape \(64,\) broadcast to \(64, 64\), .*; write "
        r"labels.reshape\(outputs.shape\) in its update"
    )
    for made in (MeanError, lambda: mx.metric.np(lambda label, pred: float(np.abs(label - pred).mean()))):
        with pytest.raises(TrainingCodeError, match=says):
            divided(user(made), 1, 97, column, LABEL, shapes)
    expected = pytest.approx(float(np.abs(LABEL - SCORE).mean()), rel=1e-6)
    for arrange in (
        lambda label, pred: (label.reshape(pred.shape), pred),
        lambda label, pred: (label, pred[:, 0]),
        lambda label, pred: (label, pred.ravel()),
        lambda label, pred: (label.reshape(-1, 1), pred),
    ):
        assert divided(user(lambda arrange=arrange: MeanError(arrange)), 2, 10, column, LABEL, shapes) == expected


@pytest.mark.parametrize(
    ("make", "output", "label", "says"),
    [
        (
            mx.metric.F1,
            SCORE.reshape(-1, 1),
            LABEL,
            "metric F1 takes one score a class, .* always the first: use .* f1",
        ),
        (
            mx.metric.MCC,
            SCORE.reshape(-1, 1),
            LABEL,
            "metric MCC takes one score a class, .*: use the metric f1 or binary_",
        ),
        (
            mx.metric.F1,
            np.eye(3)[LABEL],
            LABEL,
            "metric F1 tells two classes apart, and .*: use the metric f1 with its",
        ),
        (
            mx.metric.PearsonCorrelation,
            SCORE.reshape(-1, 1),
            LABEL,
            "of one shape, and these have .*: use the metric pear",
        ),
    ],
)
def test_what_a_metric_of_mxnet_would_take_for_something_else_is_refused(make, output, label, says):
    with pytest.raises(InputError, match=says):
        divided(user(make), 1, 97, output, label, Shapes((output.shape[1:],), ((),)))


def test_more_rows_than_there_may_be_are_refused():
    metrics = Metrics([Component("auc")], ONE).whole
    WholeMetrics(metrics, ONE, 4_000_000)
    with pytest.raises(
        InputError, match=r"auc needs all 5,000,000 validation rows at once .* 152 MiB, more than the 128"
    ):
        WholeMetrics(metrics, ONE, 5_000_000)


def one_score():
    net = mx.gluon.nn.HybridSequential()
    net.add(mx.gluon.nn.Dense(8, activation="tanh"), mx.gluon.nn.Dense(1))
    return net


def rmse():
    return mx.metric.RMSE()


def in_order():
    return InOrder()


def jobs(folder, **changes):
    arrays = digits(257, classes=2)
    pixels = arrays["pixels"]
    pixels += np.random.default_rng(4).normal(0, 2, pixels.shape).astype(np.float32)  # so that classes overlap
    given = {
        "loss": Component("sigmoid_binary_cross_entropy"),
        "network": one_score,
        "metrics": [
            "auc",
            "pr_auc",
            "f1",
            "precision",
            "recall",
            "confusion",
            "log_loss",
            "r2",
            "pearson",
            rmse,
            in_order,
        ],
        "epochs": 1,
        "fraction": 0.4,
        **changes,
    }
    return make_spec(folder, arrays=arrays, **given)


def test_every_metric_is_the_same_for_any_number_of_workers_and_any_batch_size(tmp_path):
    """Of a whole job; the learning rate is so small that the network stays what it is."""
    ends = []
    still = Component("sgd", {"learning_rate": 1e-30})
    for size, hosts, batch in ((1, 1, 24), (4, 2, 24), (2, None, 10)):
        spec = jobs(tmp_path / f"{size}-{batch}-{hosts}", batch_size=batch, optimizer=still)
        outcome = run_group(spec, size, hosts=hosts)
        assert outcome.returncodes == [0] * size, outcome.logs
        of_all = [end for rank in range(size) for end in outcome.of(events.EpochEnd, rank)]
        assert all(end.validation == of_all[0].validation for end in of_all), "the same bits on every rank"
        assert not {"auc", "pr_auc"} & set(of_all[0].training) and "f1" in of_all[0].training
        ends.append(of_all[0])
    for end in ends[1:]:
        assert end.validation == pytest.approx(ends[0].validation, rel=1e-5)
        assert end.training == pytest.approx(ends[0].training, rel=1e-5)
    assert ends[0].validation == pytest.approx(expected(spec, outcome), rel=1e-5)


def expected(spec, outcome):
    """Return the values of the model that was trained, by their definitions."""
    (staged,) = outcome.staged("model")
    reader = Reader(spec.validation_data, spec.features, spec.labels, 0, 1)
    parts = [(b.inputs[0][: b.real_rows], b.labels[0][: b.real_rows]) for b in reader.all_batches(range(1))]
    inputs, y = (np.concatenate(each) for each in zip(*parts))
    score = load_model(staged.path)(mx.nd.array(inputs)).asnumpy()[:, 0]
    w = np.ones(len(y))
    found = obvious.counts(y, score > 0, w)
    names = [metric.name for metric in spec.training.metrics]
    return {
        "loss": obvious.log_loss(y, 1 / (1 + np.exp(-score.astype(np.float64))), w),
        "auc": obvious.auc(y, score, w),
        "pr_auc": obvious.average_precision(y, score, w),
        **{name: obvious.score(name, *found[:3]) for name in ("f1", "precision", "recall")},
        **{f"confusion_{part}": count for part, count in zip(("tp", "fp", "fn", "tn"), found)},
        "log_loss": obvious.log_loss(y, 1 / (1 + np.exp(-score.astype(np.float64))), w),
        "r2": obvious.r2(y, score, w),
        "pearson": obvious.pearson(y, score, w),
        names[-2]: math.sqrt(np.mean((score - y) ** 2)),
        names[-1]: float((score * np.arange(len(y))).sum() + y[-1]),
    }


def test_the_epoch_of_the_least_rmse_of_a_function_is_the_best(tmp_path):
    spec = jobs(
        tmp_path, metrics=[rmse], best_by={"direction": "min"}, epochs=4, loss=Component("l2"),
        optimizer=Component("sgd", {"learning_rate": 0.02}),
    )  # fmt: skip
    outcome = run_group(spec, 1)
    (name,) = [metric.name for metric in spec.training.metrics]
    values = [end.validation[name] for end in outcome.of(events.EpochEnd)]
    best = [epoch for epoch, value in enumerate(values) if all(value < before for before in values[:epoch])]
    assert len(values) == 4 and len(set(values)) > 1 and [s.epoch for s in outcome.staged("best")] == best, values


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"metrics": [rmse], "best_by": {"direction": "max"}}, "of which it is min: set direction: min"),
        (
            {"metrics": [in_order], "fraction": 0.0},
            "is worked out from all validation rows at once, and this job has none",
        ),
    ],
    ids=["direction", "no validation"],
)
def test_what_cannot_be_is_refused_before_the_first_step(tmp_path, changes, says):
    with pytest.raises(InputError, match=says):
        GluonTrainable(jobs(tmp_path, **changes), Alone())


def test_without_such_metrics_nothing_is_gathered(monkeypatch):
    monkeypatch.setattr(Alone, "gather", None)
    assert WholeMetrics({}, ONE, 10**12).finish(Alone(), "the rows") == {}
