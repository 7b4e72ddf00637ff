"""Nothing that is not finite is kept, and no run that has it ends well: whatever is checked, kept or measured."""

from __future__ import annotations

import os

import mxnet as mx
import numpy as np
import pytest
from alone import Alone
from mxnet import autograd, gluon
from mxnet.gluon import nn
from role_harness import digits, make_spec, run_group

from mxspark.errors import Diverged
from mxspark.job.spec import Component, Function
from mxspark.mx.loop.base import EpochLoop
from mxspark.mx.loop.gluon import GluonTrainable
from mxspark.protocol import events

ROWS = 48
AT_ONCE = {
    "optimizer": Component("sgd", {"learning_rate": 3e38}),
    "loss": Component("softmax_cross_entropy", {"weight": 1e4}),
    "batch_size": ROWS,
    "epochs": 1,
}
TOO_FAST = Component("sgd", {"learning_rate": 1e30})


class Agent:
    """An agent that commits at once and is told nothing."""

    def __init__(self):
        self.events = []

    def send(self, event):
        self.events.append(event)

    def goes_on(self, begun):
        return True

    def drain(self):
        """All orders were understood."""

    def wait_committed(self, beat):
        """It is."""

    def of(self, kind):
        return [event for event in self.events if isinstance(event, kind)]


def train(tmp_path, **changes):
    """Train in this process; returns what was said, and what ended it."""
    given = {"counts": (ROWS,), "batch_size": 12, "epochs": 3, "metrics": (), **changes}
    spec = make_spec(tmp_path, **given)
    agent = Agent()
    try:
        EpochLoop(spec, GluonTrainable(spec, Alone()), Alone(), agent, {}).run()
    except Diverged as error:
        return agent, error.message
    return agent, None


def own(name, function):
    return Component(name, function=Function.ship(function))


def hiding():
    """The first layer is lost, and relu makes zeros of its NaN: no loss shows it."""

    class Hiding(gluon.HybridBlock):
        def __init__(self):
            super().__init__()
            self.lost, self.used = nn.Dense(3, activation="relu"), nn.Dense(10)

        def hybrid_forward(self, F, x):
            hidden = self.lost(x)
            return self.used(
                F.concat(F.flatten(x), F.where(hidden == hidden, F.zeros_like(hidden), F.ones_like(hidden)))
            )

    return Hiding()


def one_layer():
    net = nn.HybridSequential()
    net.add(nn.Dense(10))
    return net


def two_layers():
    """Without a bound or a zero between them: large weights are multiplied on any processor."""
    net = nn.HybridSequential()
    net.add(nn.Dense(16), nn.Dense(10))
    return net


def constant_mask():
    """A mask of minus infinity is no parameter that has diverged."""

    class Masked(gluon.HybridBlock):
        def __init__(self):
            super().__init__()
            self.dense = nn.Dense(10)
            self.mask = self.params.get_constant("mask", mx.nd.array([[0] * 9 + [-np.inf]]))

        def hybrid_forward(self, F, x, mask):
            return F.softmax(F.broadcast_add(self.dense(x), mask))

    net = nn.HybridSequential()
    net.add(Masked(), nn.Dense(10))
    return net


KEPT = [{}, {"every_epochs": 1}, {"every_steps": 1}, {"fraction": 0.25}, {"metrics": ("accuracy",), "fraction": 0.25}]


@pytest.mark.parametrize("kept", KEPT, ids=str)
def test_a_loss_that_is_not_finite_ends_training_at_its_step(tmp_path, kept):
    agent, message = train(tmp_path, optimizer=TOO_FAST, network=two_layers, **kept)
    assert not agent.of(events.EpochEnd) and not agent.of(events.Done)
    # the first step is finite, and so is what is kept of it: at most, for a thread writes it while step 2 is looked at
    assert {staged.step for staged in agent.of(events.Staged)} <= ({1} if "every_steps" in kept else set())
    assert "at the learning rate 1e+30" in message and "parameter 0.weight" in message, message
    if "every_steps" not in kept:
        assert message.startswith("the loss became nan at step 2, for 12 of 12 rows of this worker"), message
    assert "lower the learning rate" in message and "clip_gradient" in message


@pytest.mark.parametrize("kept", KEPT, ids=str)
def test_the_last_step_may_be_the_one(tmp_path, kept):
    """Its loss is finite, and the next one is never computed."""
    agent, message = train(tmp_path, **AT_ONCE, **kept)
    assert not agent.of(events.EpochEnd) and not agent.of(events.Staged)
    assert "parameter 0.weight" in message and "step 1" in message and "the learning rate 3e+38" in message


def test_a_layer_whose_values_no_loss_shows_is_named(tmp_path):
    def lost():
        net = hiding()
        net.lost.initialize(mx.init.Constant(float("nan")))
        return net

    agent, message = train(tmp_path, network=lost)
    assert "parameter lost.weight is not finite before the first step" in message, message
    assert not agent.events


def test_a_layer_that_is_lost_on_the_way_is_found_at_the_end_of_the_epoch(tmp_path):
    spec = make_spec(
        tmp_path, counts=(ROWS,), batch_size=12, epochs=2, metrics=("accuracy",), fraction=0.25, network=hiding
    )
    trained, agent = GluonTrainable(spec, Alone()), Agent()
    loop = EpochLoop(spec, trained, Alone(), agent, {})
    trained._network.parameters["lost.bias"].data()[1] = float("inf")
    with pytest.raises(Diverged, match=r"parameter lost.bias is not finite after step \d"):
        loop.run()
    assert not agent.of(events.EpochEnd) and not agent.of(events.Staged)


def only_in_validation(value):
    def loss(output, label):
        plain = gluon.loss.SoftmaxCrossEntropyLoss()(output, label)
        return plain if autograd.is_recording() else plain + value

    return own("loss", loss)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_the_loss_of_validation_counts_too(tmp_path, value):
    agent, message = train(tmp_path, loss=only_in_validation(value), fraction=0.25, every_epochs=1)
    assert message.startswith(f"the loss became {value} of the validation rows after step "), message
    assert "the network's parameters and outputs are finite, so it is the loss itself" in message
    assert not agent.of(events.Staged)


@pytest.mark.parametrize("fraction", [0.0, 0.25])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_metric_that_is_not_finite_for_a_row_is_no_success(tmp_path, value, fraction):
    def half(labels, outputs):
        return np.where(labels > 4, value, 1.0)

    agent, message = train(tmp_path, metrics=[own("half", half)], fraction=fraction)
    assert message.startswith("metric half of the training rows after step "), message
    assert f" is {value}: make it give a finite number for every row, or remove it" in message
    assert not agent.of(events.Staged)


def nothing_counts():
    return mx.metric.Perplexity(ignore_label=3)


def test_a_metric_that_counts_no_row_has_no_value_and_that_is_said_once(tmp_path):
    arrays = digits(ROWS)
    arrays["digit"][:] = 3
    metrics = [own("none", nothing_counts), "accuracy"]
    agent, message = train(tmp_path, metrics=metrics, fraction=0.25, arrays=arrays, network="probabilities")
    assert message is None and len(agent.of(events.EpochEnd)) == 3
    assert [note.text for note in agent.of(events.Noted) if note.text.startswith("metric ")] == [
        "metric none has no value for the training rows: it counted none of them",
        "metric none has no value for the validation rows: it counted none of them",
    ]


def test_a_metric_that_overflows_is_infinite_and_training_goes_on(tmp_path):
    """The loss is finite, and its exponential is not."""
    arrays = digits(ROWS)
    arrays["pixels"] *= 1e5
    agent, message = train(
        tmp_path, metrics=["perplexity"], fraction=0.25, arrays=arrays, network=one_layer, best_by="perplexity",
        optimizer=Component("sgd", {"learning_rate": 1e-9}),
    )  # fmt: skip
    assert message is None and not [staged for staged in agent.of(events.Staged) if staged.kind == "best"]
    (first, *_) = agent.of(events.EpochEnd)
    assert np.isfinite(first.training["loss"]) and first.training["perplexity"] == float("inf")
    why = "it is beyond the largest number there is"
    assert f"metric perplexity has no value for the validation rows: {why}" in [n.text for n in agent.of(events.Noted)]


def test_constants_may_be_infinite(tmp_path):
    agent, message = train(tmp_path, network=constant_mask, every_epochs=1)
    assert message is None and [staged.kind for staged in agent.of(events.Staged)].count("checkpoint") == 3


def on_rank_1(output, label):
    plain = gluon.loss.SoftmaxCrossEntropyLoss()(output, label)
    return plain / 0 if os.environ["TEST_RANK"] == "1" else plain


@pytest.mark.parametrize("hosts", [None, 1])
def test_one_worker_that_sees_it_ends_the_others(tmp_path, hosts):
    loss = Component("loss", function=Function("loss", path="test_finite:on_rank_1"))
    outcome = run_group(make_spec(tmp_path, loss=loss), 2, hosts=hosts)
    (raised,) = outcome.of(events.Raised, 1)
    assert (raised.who, raised.step) == ("diverged", 0), raised
    assert raised.message.startswith("the loss became inf at step 1, for 12 of 12 rows")
    assert outcome.returncodes == [-9, 3] and not outcome.of(events.Staged)


def test_all_workers_say_the_same_of_their_parameters(tmp_path):
    spec = make_spec(tmp_path, counts=(ROWS,), arrays=digits(ROWS), **AT_ONCE)
    outcome = run_group(spec, 2, hosts=1)
    said = [event.message for rank in range(2) for event in outcome.of(events.Raised, rank)]
    assert said and len(set(said)) == 1 and "parameter 0.weight" in said[0]
    assert not outcome.of(events.Staged)
