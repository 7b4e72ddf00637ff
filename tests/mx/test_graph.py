"""What a network computes, told without its names: the same for every build of it, and for nothing else."""

from __future__ import annotations

from dataclasses import replace

import mxnet as mx
import pytest
import role_jobs
from mxnet import gluon
from mxnet.gluon import nn
from role_harness import make_spec, run_group

from mxspark.job import fixed
from mxspark.mx.model import graph
from mxspark.mx.model.export import trace
from mxspark.protocol import events


def lines(net, inputs=1):
    names = ["data"] if inputs == 1 else [f"data{i}" for i in range(inputs)]
    return graph.describe(trace(net, inputs), names)


def dense(activation="relu", units=8, last=10, initializer=None, factor=1.0):
    net = nn.HybridSequential()
    net.add(nn.Dense(units, activation=activation, weight_initializer=initializer), nn.Dense(last))
    net[0].weight.lr_mult = factor
    return net


class Looped(gluon.HybridBlock):
    """A loop inside of the graph, whose parts MXNet numbers by itself."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def hybrid_forward(self, F, x):
        outputs, _ = F.contrib.foreach(lambda row, state: (row * self.factor + state, state + 1), x, F.zeros((1,)))
        return outputs


class Two(gluon.HybridBlock):
    """Takes two inputs."""

    def __init__(self, turned=False):
        super().__init__()
        self.turned = turned

    def hybrid_forward(self, F, a, b):
        return F.concat(b, a) if self.turned else F.concat(a, b)


BUILDS = [
    role_jobs.mlp,
    role_jobs.lenet,
    role_jobs.with_batch_norm,
    role_jobs.with_dropout,
    dense,
    lambda: Looped(2),
    lambda: gluon.rnn.LSTM(4, layout="NTC"),
]


@pytest.mark.parametrize("build", BUILDS)
def test_each_build_of_a_network_is_the_same(build):
    one, other = build(), build()
    assert lines(one) == lines(other) and len(lines(one)) > 2
    prefixed = lines(nn.HybridSequential(prefix="mine_"))
    assert prefixed == lines(nn.HybridSequential(prefix="data_"))


def test_a_net_that_was_used_or_initialised_otherwise_is_the_same():
    used = dense()
    used.initialize()
    used(mx.nd.ones((2, 5)))
    assert lines(used) == lines(dense()) == lines(dense(initializer=mx.init.Constant(2), factor=0.1))


OTHERS = [
    dense("tanh"),
    dense(units=9),
    dense(last=11),
    nn.HybridSequential(),
    role_jobs.mlp(),
]


@pytest.mark.parametrize("other", OTHERS)
def test_another_network_is_another(other):
    if not len(other):
        other.add(nn.Dense(8, activation="relu"), nn.Dense(10), nn.Dropout(0.5))
    assert fixed.other_graph(lines(dense()), lines(other))


def test_what_is_inside_of_a_loop_and_the_order_of_inputs_count():
    assert lines(Looped(2)) != lines(Looped(3))
    assert lines(Two(), 2) == lines(Two(), 2) != lines(Two(turned=True), 2)


def test_the_difference_is_named():
    words = fixed.other_graph(lines(dense()), lines(dense("tanh")))
    assert "Activation(act_type=relu) of 3 and is Activation(act_type=tanh) of 3" in words, words


@pytest.mark.parametrize("size", [1, 2])
def test_a_worker_refuses_another_network_before_its_first_step(tmp_path, size):
    spec = make_spec(tmp_path / "a", network="with_dropout", epochs=1)
    first = run_group(spec, size)
    started = first.of(events.Started)[0]
    assert started.graph and all(not first.of(events.Started, rank)[0].graph for rank in range(1, size))
    assert run_group(replace(spec, graph=started.graph), size).returncodes == [0] * size
    other = replace(make_spec(tmp_path / "b", network="mlp", epochs=1), graph=started.graph)
    outcome = run_group(other, size)
    said = [event for rank in range(size) for event in outcome.of(events.Raised, rank)]
    assert {event.who for event in said} == {"input"}
    assert "the network role_jobs:mlp is another one than this job began with: its part" in said[0].message
    assert not [event for rank in range(size) for event in outcome.of(events.Started, rank)]
