"""The layer that an output comes out of, found in the graph, and what is said of it before the first step."""

from __future__ import annotations

import mxnet as mx
import numpy as np
import pytest
from alone import Alone
from mxnet import gluon
from mxnet.gluon import nn
from role_harness import digits, make_spec

from mxspark.errors import InputError, TrainingCodeError
from mxspark.job.spec import Component, Function
from mxspark.mx.loop.gluon import GluonTrainable
from mxspark.mx.model import export, output_end

ROWS = 48


def ends_in(body, layer=None):
    """Return a function that makes a network of ten outputs and what `body(F, x)` makes of them."""

    def network():
        class Net(gluon.HybridBlock):
            def __init__(self):
                super().__init__()
                self.dense = nn.Dense(10) if layer is None else layer()

            def hybrid_forward(self, F, x):
                return body(F, self.dense(x))

        return Net()

    return network


@pytest.mark.parametrize(
    ("body", "layer", "says"),
    [
        (lambda F, x: x, None, ("FullyConnected", "scores")),
        (lambda F, x: F.softmax(x), None, ("softmax", "probabilities")),
        (lambda F, x: F.expand_dims(F.cast(F.sigmoid(x), "float32"), 1), None, ("sigmoid", "probabilities")),
        (lambda F, x: F.log_softmax(x).reshape((-1, 2, 5)), None, ("log_softmax", "log_probabilities")),
        (lambda F, x: x, lambda: nn.Dense(10, activation="sigmoid"), ("sigmoid", "probabilities")),
        (lambda F, x: x, lambda: nn.Dense(10, activation="relu"), ("relu", None)),
        (lambda F, x: F.tanh(x), None, ("tanh", None)),
    ],
)
def test_the_end_of_a_network_is_seen_behind_what_changes_no_value(body, layer, says):
    (end,) = output_end.ends(export.trace(ends_in(body, layer)(), 1))
    assert (end.layer.split()[0], end.kind) == says


@pytest.mark.parametrize(
    ("body", "axis"),
    [
        (lambda F, x: F.log_softmax(x, axis=1), 1),
        (lambda F, x: F.softmax(x), -1),
        (lambda F, x: F.transpose(F.softmax(x)), None),
        (lambda F, x: F.sigmoid(x), None),
    ],
)
def test_the_axis_of_a_softmax_is_known_where_nothing_moves_it(body, axis):
    (end,) = output_end.ends(export.trace(ends_in(body)(), 1))
    assert end.axis == axis


def test_of_what_says_nothing_nothing_is_known():
    two = ends_in(lambda F, x: (F.exp(x), F.softmax(x) * 2))
    assert output_end.ends(export.trace(two(), 1)) == (None, None)


def built(folder, body, **changes):
    given = {"counts": (ROWS,), "arrays": digits(ROWS), "metrics": (), "network": ends_in(body), "epochs": 1}
    return GluonTrainable(make_spec(folder, **{**given, **changes}), Alone())


def test_a_second_softmax_is_warned_of_and_trains_worse(tmp_path):
    twice = built(tmp_path / "twice", lambda F, x: F.softmax(x), batch_size=ROWS, epochs=30)
    once = built(tmp_path / "once", lambda F, x: x, batch_size=ROWS, epochs=30)
    assert [note for note in twice.notes() if "ends in softmax" in note and "leave it out" in note]
    assert not [note for note in once.notes() if "ends in" in note]
    losses = []
    for one in (twice, once):
        one.broadcast()
        for batch in one.batches(range(30), 0):
            one.step(batch)
        one.settle()
        losses.append(one.metrics()["loss"])
    assert losses[0] > 2 * losses[1]


@pytest.mark.parametrize(
    ("body", "changes", "says"),
    [
        (lambda F, x: x, {"loss": Component("softmax_cross_entropy", {"from_logits": True})}, "ends in FullyConnected"),
        (lambda F, x: F.softmax(x), {"metrics": ["cross_entropy"]}, "set its option of: probabilities"),
        (
            lambda F, x: F.log_softmax(x.reshape((-1, 2, 5)), axis=1),
            {
                "loss": Component("softmax_cross_entropy", {"from_logits": True}),
                "arrays": {**digits(ROWS), "digit": np.zeros((ROWS, 2), np.int32)},
            },
            "has its classes on axis -1, but the network ends in log_softmax",
        ),
        (
            lambda F, x: x,
            {"metrics": [Component("mine", function=Function.ship(lambda: mx.metric.Perplexity(None)))]},
            "metric Perplexity takes probabilities, but the network ends in FullyConnected",
        ),
    ],
)
def test_what_would_be_another_number_is_refused_before_the_first_step(tmp_path, body, changes, says):
    with pytest.raises(InputError, match=says):
        built(tmp_path, body, **changes)


@pytest.mark.parametrize(
    "body",
    [
        lambda F, x: F.MakeLoss(x),
        lambda F, x: F.softmax(F.make_loss(x)),
        lambda F, x: F.LogisticRegressionOutput(x, F.zeros_like(x)),
        lambda F, x: F.SoftmaxOutput(x, F.argmax(x, axis=1)),
    ],
)
def test_a_layer_with_a_gradient_of_its_own_is_refused(tmp_path, body):
    with pytest.raises(TrainingCodeError, match="which sends back a gradient of its own, whatever"):
        built(tmp_path, body)


def test_such_a_layer_takes_no_notice_of_the_loss():
    x = mx.nd.array([[0.5, -2.0]])
    x.attach_grad()
    with mx.autograd.record():
        loss = mx.nd.MakeLoss(x) * 0
    loss.backward()
    assert x.grad.asnumpy().tolist() == [[1.0, 1.0]]


def test_amounts_that_a_sigmoid_cannot_reach_are_warned_of(tmp_path):
    arrays = {"pixels": np.ones((ROWS, 2), np.float32), "digit": np.arange(ROWS * 10.0).reshape(ROWS, 10)}
    trained = built(tmp_path, lambda F, x: F.sigmoid(x), arrays=arrays, loss=Component("l2"))
    assert [
        note
        for note in trained.notes()
        if "label 'digit' has values from 0 to 479, and the network ends in sig" in note
    ]


def shifted(scale):
    """Scores of which nothing is known before the first step."""
    return lambda F, x: F.broadcast_add(x * scale, F.ones_like(x))


def declared(folder, name, body, **options):
    """Train the steps of an epoch with an option that says what the output is; return the loss."""
    digit = {"kl_div": np.full((ROWS, 10), 0.1, np.float32), "sigmoid_binary_cross_entropy": np.eye(10)[[1] * ROWS]}
    arrays = {**digits(ROWS), **({"digit": digit[name].astype(np.float32)} if name in digit else {})}
    trained = built(folder, body, loss=Component(name, options), arrays=arrays, initializer="xavier")
    trained.broadcast()
    for batch in trained.batches(range(1), 0):
        trained.step(batch)
    trained.settle()
    return trained.metrics()["loss"]


@pytest.mark.parametrize(
    ("name", "option", "last", "right"),
    [
        ("softmax_cross_entropy", "from_logits", "log_softmax", lambda F, x: F.log_softmax(x) * 1),
        ("kl_div", "from_logits", "log_softmax", lambda F, x: F.log_softmax(x) * 1),
        ("sigmoid_binary_cross_entropy", "from_sigmoid", "sigmoid", lambda F, x: F.sigmoid(x) * 1),
    ],
)
def test_an_output_that_is_not_what_an_option_says_is_refused_in_the_first_step(tmp_path, name, option, last, right):
    says = rf"training.loss {name} takes .* with {option}: true, but .* output goes from .* \(at step 1\): "
    advice = rf"set {option}: false beside its name for scores, or end the network in a {last}"
    for place, scale in enumerate((1, 1000)):
        with pytest.raises(InputError, match=says + advice):
            declared(tmp_path / str(place), name, shifted(scale), **{option: True})
    assert declared(tmp_path / "false", name, shifted(1), **{option: False}) > 0, "as the message says"
    assert declared(tmp_path / "last", name, right, **{option: True}) > 0, "as the message says"


def test_an_object_of_mxnet_is_held_to_what_its_option_says(tmp_path):
    loss = Component("mine", function=Function.ship(gluon.loss.SoftmaxCELoss(from_logits=True)))
    trained = built(tmp_path, shifted(1), loss=loss)
    trained.broadcast()
    with pytest.raises(InputError, match="softmax_cross_entropy takes logarithms of probabilities with from_logits"):
        trained.step(next(iter(trained.batches(range(1), 0))))
        trained.settle()
