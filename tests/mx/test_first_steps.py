"""What a job trains less than its user thinks: inputs, parameters and losses that do not matter, said once by name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from alone import Alone
from mxnet import gluon
from mxnet.gluon import nn
from role_harness import digits, make_spec
from spools import write_arrays
from test_finite import Agent, own

from mxspark.job.spec import Component
from mxspark.mx.loop.base import EpochLoop
from mxspark.mx.loop.gluon import GluonTrainable
from mxspark.protocol import events


def notes(spec, epochs=2):
    """Train, and return what was noted."""
    spec = replace(spec, training=replace(spec.training, epochs=epochs))
    agent = Agent()
    EpochLoop(spec, GluonTrainable(spec, Alone()), Alone(), agent, {}).run()
    return [note.text for note in agent.of(events.Noted)]


def a_spec(tmp_path, **changes):
    given = {"counts": (96,), "batch_size": 12, "metrics": (), **changes}
    return make_spec(tmp_path, **given)


class Parts(gluon.HybridBlock):
    """Has a layer that the loss may not see."""

    def __init__(self, how):
        super().__init__()
        self.how = how
        self.one, self.other, self.head = nn.Dense(8), nn.Dense(8), nn.Dense(10)

    def hybrid_forward(self, F, x):
        other = self.other(x)
        if self.how == "frozen":
            other = F.BlockGrad(other)
        if self.how == "off":
            other = F.relu(F.broadcast_sub(other * 0, F.ones_like(other)))
        hidden = self.one(x)
        if self.how == "second output":
            return self.head(hidden), other
        return self.head(hidden + other)


def of_the_first(outputs, label):
    return gluon.loss.SoftmaxCrossEntropyLoss()(outputs[0], label)


@pytest.mark.parametrize(
    ("how", "named"), [("", []), ("frozen", ["other"]), ("off", ["other"]), ("second output", ["other"])]
)
def test_a_parameter_without_a_gradient_is_named(tmp_path, how, named):
    changes = {"loss": own("first", of_the_first)} if how == "second output" else {}
    said = notes(a_spec(tmp_path, network=lambda: Parts(how), **changes))
    assert [line.split()[1] for line in said] == [f"{layer}.{kind}" for layer in named for kind in ("weight", "bias")]
    assert all("got no gradient in any of the first 5 steps, so it is not trained" in line for line in said), said


def dense(*frozen):
    """Return a function that makes a network whose parameters of these names are not to be trained."""

    def network():
        net = nn.HybridSequential()
        net.add(nn.Dense(8), nn.Dense(10))
        for name, parameter in net._collect_params_with_prefix().items():
            if name in frozen:
                parameter.grad_req = "null"
        return net

    return network


def test_a_bias_that_mxnet_forgets_beside_a_frozen_weight_is_told_so(tmp_path):
    """With oneDNN there is no gradient for the bias of a FullyConnected whose weight needs none."""
    (line,) = notes(a_spec(tmp_path / "one", network=dense("0.weight")))
    assert line.startswith(
        "parameter 0.bias got no gradient in any of the first 5 steps, so it is not trained: the weight"
    )
    assert "has grad_req 'null'" in line and 'MXNET_MKLDNN_ENABLED: "0"' in line
    said = notes(a_spec(tmp_path / "all", network=dense("0.weight", "1.weight", "0.bias")))
    assert len(said) == 1 and said[0].startswith("parameter 1.bias got no gradient") and "of its layer has" in said[0]
    assert notes(a_spec(tmp_path / "both", network=dense("0.weight", "0.bias"))) == []


def test_a_loss_that_depends_on_nothing_that_is_trained_names_it(tmp_path):
    class Other(gluon.HybridBlock):
        def __init__(self):
            super().__init__()
            self.one, self.other = nn.Dense(10), nn.Dense(3)

        def hybrid_forward(self, F, x):
            return self.one(x), self.other(x)

    def network():
        net = Other()
        net.one.collect_params().setattr("grad_req", "null")
        return net

    (line,) = notes(a_spec(tmp_path, network=network, loss=own("first", of_the_first)))
    assert line == (
        "no parameter got a gradient in any of the first 5 steps: the loss does not depend on what of the network is "
        "trained (other.weight, other.bias); all else has grad_req 'null'"
    )


def test_a_layer_that_begins_with_zeros_is_none(tmp_path):
    def network():
        net = nn.HybridSequential()
        net.add(nn.Dense(8, activation="relu"), nn.Dense(10, weight_initializer="zeros"))
        return net

    assert notes(a_spec(tmp_path, network=network)) == []


def test_a_layer_that_some_steps_use_is_none(tmp_path):
    assert notes(a_spec(tmp_path, network="sometimes_used")) == []


def test_fewer_steps_than_that_are_enough_at_the_end_of_an_epoch(tmp_path):
    said = notes(a_spec(tmp_path, counts=(24,), network=lambda: Parts("frozen")), epochs=3)
    assert len(said) == 2 and "in any of the first 2 steps" in said[0]


def test_a_loss_of_one_class_is_constant(tmp_path):
    arrays = {"pixels": np.random.rand(96, 4).astype("float32"), "digit": np.zeros(96, "int32")}
    said = notes(a_spec(tmp_path, arrays=arrays, network=lambda: nn.Dense(1)))
    assert len(said) == 1 and said[0].startswith("the loss is constant: "), said
    assert "for every row in any of the first 5 steps" in said[0]


def test_a_rate_of_nothing_makes_a_constant_loss(tmp_path):
    said = notes(a_spec(tmp_path, optimizer=Component("sgd", {"learning_rate": 1e-30})))
    assert len(said) == 1 and said[0].startswith("the loss is constant: ") and "two epochs in a row" in said[0], said


class Ignoring(gluon.HybridBlock):
    """Takes two inputs, and uses one."""

    def __init__(self):
        super().__init__()
        self.dense = nn.Dense(10)

    def hybrid_forward(self, F, a, b):
        return self.dense(b)


@pytest.mark.filterwarnings("ignore:The 0-th input to HybridBlock is not used")  # MXNet's own, in a worker's log
def test_an_input_that_no_output_depends_on_is_named_before_the_first_step(tmp_path):
    spec = a_spec(tmp_path, network=Ignoring)
    (pixels,) = spec.features
    arrays = digits(96)
    spool = write_arrays(tmp_path / "two", [{**arrays, "size": arrays["pixels"]}])
    data = replace(spec.training_data, spool=spool)
    spec = replace(spec, features=(replace(pixels, name="size"), pixels), training_data=data)
    assert notes(spec) == [
        "data.features.size is not used: no output of the network test_first_steps:Ignoring depends on it"
    ]


@pytest.mark.parametrize(
    ("schedule", "says"),
    [
        (Component("cosine", {"max_update": 16}), "training.schedule cosine has brought the learning rate to 0"),
        (lambda step: 0.1 if step <= 16 else 0.0, "has brought the learning rate to 0"),
    ],
)
def test_a_loss_that_no_longer_changes_is_no_constant_one(tmp_path, schedule, says):
    optimizer = Component("sgd", {"learning_rate": 0.1})  # a momentum goes on at a rate of 0
    said = notes(a_spec(tmp_path, schedule=schedule, optimizer=optimizer), epochs=5)
    (line,) = [note for note in said if note.startswith("the loss ")]
    assert line.startswith("the loss no longer changes: ") and says in line, line


def test_a_job_that_has_converged_is_told_so(tmp_path):
    """Each step goes half of the way to 0, and soon the square is too small for float32."""
    arrays = {"pixels": np.ones((96, 1), np.float32), "digit": np.zeros(96, np.float32)}
    given = {"arrays": arrays, "loss": Component("l2"), "optimizer": Component("sgd", {"learning_rate": 0.5})}
    said = notes(a_spec(tmp_path, network=lambda: nn.Dense(1, use_bias=False), **given), epochs=14)
    (line,) = [note for note in said if note.startswith("the loss ")]
    assert line.startswith("the loss no longer changes: ") and "it has converged" in line, line
