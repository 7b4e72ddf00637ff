"""Losses of the user's: one value a row, made of that row, of labels that come by their names."""

from __future__ import annotations

import re

import mxnet as mx
import numpy as np
import pytest
from alone import Alone
from mxnet import gluon
from role_harness import make_spec

from mxspark.errors import DataError, TrainingCodeError
from mxspark.job.spec import Component, Function
from mxspark.mx.loop.gluon import GluonTrainable
from mxspark.mx.model.label_order import ordered, parameters

ROWS = 40


def rows(labels=None):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(ROWS, 2)).astype(np.float32)
    return {"pixels": x, "digit": (x[:, 0] if labels is None else labels).astype(np.float32)}


def trained(folder, loss, arrays=None, network="linear", **changes):
    component = loss if isinstance(loss, Component) else Component("mine", function=Function.ship(loss))
    settings = {"counts": (ROWS,), "batch_size": 16, "epochs": 1, "metrics": (), "loss": component, **changes}
    built = GluonTrainable(make_spec(folder, arrays=arrays or rows(), network=network, **settings), Alone())
    built.broadcast()
    for batch in built.batches(range(1), 0):
        built.step(batch)
    built.settle()
    return built.digest()


def squares(output, label):
    return (output - label) ** 2


def mean_of_squares(output, label):
    return ((output - label) ** 2).mean(axis=1)


def other_mean_of_squares(output, label):
    return ((output - label) ** 2).mean(axis=0)


def right(output, label):
    return ((output - label.reshape(output.shape)) ** 2).mean(axis=1)


def also_right(output, label):
    return (output[:, 0] - label) ** 2


BROADCAST = r"an output of shape \(16, 1\) and a label of shape \(16,\) broadcast to \(16, 16\), which pairs every row "
ADVICE = r"with every other; write label.reshape\(output.shape\) in the loss"


def test_a_loss_of_every_row_with_every_other_is_a_broadcast_and_called_so(tmp_path):
    with pytest.raises(TrainingCodeError, match=r"the loss gave shape \(16, 16\) for 16 rows: " + BROADCAST + ADVICE):
        trained(tmp_path, squares)


@pytest.mark.parametrize("loss", [mean_of_squares, other_mean_of_squares])
def test_a_mean_over_a_broadcast_has_the_right_shape_and_is_found_out(tmp_path, loss):
    with pytest.raises(TrainingCodeError, match="the loss of a row depends on other rows: " + BROADCAST + ADVICE):
        trained(tmp_path, loss)


def test_labels_that_are_equal_at_first_hide_nothing_for_long(tmp_path):
    labels = np.ones(ROWS)
    labels[-1] = 2
    with pytest.raises(TrainingCodeError, match="the loss of a row depends on other rows"):
        trained(tmp_path, mean_of_squares, rows(labels))


def test_what_the_message_advises_trains_what_is_meant(tmp_path):
    losses = (right, also_right, lambda output, label: 2 * gluon.loss.L2Loss()(output, label))
    digests = {trained(tmp_path / str(number), loss) for number, loss in enumerate(losses)}
    assert len(digests) == 1


def test_a_loss_of_class_indices_may_meet_a_shape_that_broadcasts(tmp_path):
    """As many classes as rows: (10, 10) and (10,)."""
    arrays = {"pixels": rows()["pixels"], "digit": (np.arange(ROWS) % 10).astype(np.int32)}
    trained(tmp_path, lambda: gluon.loss.SoftmaxCrossEntropyLoss(), arrays, "mlp", batch_size=10)


@pytest.mark.parametrize(
    ("loss", "labels", "message"),
    [
        ("l2", np.zeros((ROWS, 2)), r"label 'digit' has shape \[2\] in a row, .* output is \[1\] in a row takes \[1\]"),
        ("hinge", np.ones((ROWS, 16)), r"label 'digit' has shape \[16\] in a row"),
    ],
)
def test_a_named_loss_refuses_other_sizes_before_the_first_step(tmp_path, loss, labels, message):
    with pytest.raises(DataError, match=message):
        trained(tmp_path, Component(loss), rows(labels))


def pair():
    class Pair(gluon.HybridBlock):
        def __init__(self):
            super().__init__()
            self.dense = gluon.nn.Dense(1)

        def hybrid_forward(self, F, x):
            return self.dense(x), x

    return Pair()


def test_a_named_loss_refuses_a_network_of_two_outputs(tmp_path):
    with pytest.raises(TrainingCodeError, match=r"the network has 2 outputs, .* but training.loss l2 takes one: give"):
        trained(tmp_path, Component("l2"), network=pair)


def test_labels_come_by_name_in_any_order():
    def loss(output, price, amount):
        return output, price, amount

    assert ordered(loss, ["amount", "price"])(0, "amount", "price") == (0, "price", "amount")
    assert ordered(loss, ["price", "amount"]) is loss
    assert ordered(loss, ["a", "b"]) is loss, "other names: in declared order"

    class Block(gluon.HybridBlock):
        def hybrid_forward(self, F, output, price, amount):
            return output + 2 * price + 3 * amount

    value = ordered(Block(), ["amount", "price"])(mx.nd.zeros(1), mx.nd.ones(1) * 10, mx.nd.ones(1))
    assert value.asscalar() == 32
    graph = ordered(Block(), ["amount", "price"])(*map(mx.sym.var, ("output", "amount", "price")))
    assert graph.list_arguments() == ["output", "price", "amount"], "who looks at the graph of a loss sees it"
    assert parameters(gluon.loss.L2Loss()) == ["pred", "label", "sample_weight"]
    assert parameters(lambda output, *labels: 0) == ["output"] and parameters(max) == []


@pytest.mark.parametrize(
    ("loss", "labels", "message"),
    [
        (lambda output, b, other: 0, ["a", "b"],
         "the loss takes (output, b, other), and the label 'b' would be given to 'other', as the job declares its "
         "labels in the order a, b: name all parameters after the output as the labels"),
        (lambda output, a, gamma, b: 0, ["a", "b"], "the label 'b' would be given to 'gamma'"),
        (lambda a, output: 0, ["a"], "the label 'a' would be given to 'output'"),
        (gluon.loss.L2Loss(), ["y", "w"], "the label 'w' would be given to the loss as its sample_weight, which MXNet "
                                          "broadcasts: name it as data.weight: w in place of a label"),
    ],
)  # fmt: skip
def test_labels_that_would_go_by_place_where_names_say_otherwise_are_refused(loss, labels, message):
    with pytest.raises(TrainingCodeError, match=re.escape(message)):
        ordered(loss, labels)


def test_labels_that_go_by_name_reach_a_whole_job_so(tmp_path):
    """The parameter comes before the label of its name; the harness has one label, so two are made of it here."""
    from dataclasses import replace

    arrays = rows()
    spec = make_spec(
        tmp_path, counts=(ROWS,), arrays=arrays, network="linear", metrics=(), epochs=1,
        loss=Component("mine", function=Function.ship(lambda output, pixels, digit: (output[:, 0] - digit) ** 2)),
    )  # fmt: skip
    named = GluonTrainable(replace(spec, labels=(*spec.labels, *spec.features)), Alone())
    plain = GluonTrainable(
        replace(spec, training=replace(spec.training, loss=Component("mine", function=Function.ship(also_right)))),
        Alone(),
    )
    digests = set()
    for one in (named, plain):
        one.broadcast()
        for batch in one.batches(range(1), 0):
            one.step(batch)
        one.settle()
        digests.add(one.digest())
    assert len(digests) == 1
