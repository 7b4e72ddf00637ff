"""Networks, losses and data of the tests; loaded by path inside worker processes."""

from __future__ import annotations

import os
import signal
import sys

import mxnet as mx
from mxnet import autograd, gluon
from mxnet.gluon import nn


def mlp():
    net = nn.HybridSequential()
    net.add(nn.Dense(32, activation="relu"), nn.Dense(16, activation="tanh"), nn.Dense(10))
    return net


def probabilities():
    net = mlp()
    net.add(nn.HybridLambda("softmax"))
    return net


def lenet():
    net = nn.HybridSequential()
    net.add(nn.Conv2D(8, 3, activation="relu"), nn.MaxPool2D(2, 2), nn.Conv2D(16, 3, activation="relu"))
    net.add(nn.Flatten(), nn.Dense(32, activation="relu"), nn.Dense(10))
    return net


def with_batch_norm():
    net = nn.HybridSequential()
    net.add(nn.Dense(16), nn.BatchNorm(), nn.Activation("relu"), nn.Dropout(0.3), nn.Dense(10))
    return net


def with_dropout():
    net = nn.HybridSequential()
    net.add(nn.Dense(32, activation="relu"), nn.Dropout(0.5), nn.Dense(10))
    return net


def pretrained():
    """A network that was used, in inference mode, before training starts."""
    net = lenet()
    net.initialize(mx.init.Uniform(0.05))
    net(mx.nd.ones((2, 1, 8, 8))).wait_to_read()
    return net


def plain_block():
    return gluon.nn.Sequential()


def raising():
    raise KeyError("no such layer")


def leaving():
    sys.exit(0)


class RaisesLater(gluon.HybridBlock):
    """Raises in its fourth pass with data."""

    def __init__(self):
        super().__init__()
        self.dense = nn.Dense(10)
        self.passes = 0

    def forward(self, x):
        if isinstance(x, mx.nd.NDArray):
            self.passes += 1
            if self.passes == 4:
                raise ValueError("the fourth pass")
        return self.dense(x)


def raises_later():
    return RaisesLater()


class OutOfRange(gluon.HybridBlock):
    """Fails in the engine, not in Python: an index is outside."""

    def hybrid_forward(self, F, x):
        return F.broadcast_add(x, F.reshape(F.take(x, F.sum(x) * 0 + 999, axis=0, mode="raise"), (1, -1)))


def out_of_range():
    net = nn.HybridSequential()
    net.add(nn.Dense(4), OutOfRange(), nn.Dense(10))
    return net


def logarithm():
    net = nn.HybridSequential()
    net.add(nn.Dense(10, use_bias=False, weight_initializer=mx.init.Constant(0.5)))
    return net


def linear():
    net = nn.HybridSequential()
    net.add(nn.Dense(1, weight_initializer=mx.init.Constant(0.5)))
    return net


def mean_loss():
    return lambda output, label: mx.nd.mean(gluon.loss.SoftmaxCrossEntropyLoss()(output, label))


def log_loss(output, label):
    """Infinite gradient times nothing is NaN: rows of zeros in the padding would show. Smooth at every real row."""
    return mx.nd.mean(mx.nd.square(mx.nd.log(output)), axis=1) + 0 * label.astype("float32")


def dies_in_its_update():
    """Kill worker 1 once its share of the 10th update is done, which the others are not told."""
    from mxspark.mx.state.optimizer import Updater

    update, seen = Updater._update_share, []

    def dying(self, targets):
        update(self, targets)
        seen.append(1)
        if len(seen) == 10 and os.environ["TEST_RANK"] == "1":
            mx.nd.waitall()
            os.kill(os.getpid(), signal.SIGKILL)

    Updater._update_share = dying
    return mlp()


_KEPT = []


def kept():
    _KEPT.append(mlp())
    return _KEPT[-1]


def clipping(output, label):
    """Clip the weights of the network beside computing a loss."""
    with autograd.pause():
        for parameter in _KEPT[-1].collect_params().values():
            parameter.set_data(mx.nd.clip(parameter.data(), -0.1, 0.1))
    return gluon.loss.SoftmaxCrossEntropyLoss()(output, label)


def raises_on_rank_1():
    if os.environ["TEST_RANK"] == "1":
        raise RuntimeError("only here")
    return mlp()


class SometimesUsed(gluon.HybridBlock):
    """Has a layer that only every other step uses; MXNet then leaves its gradient as it was."""

    def __init__(self):
        super().__init__()
        self.one, self.other, self.head = nn.Dense(8), nn.Dense(8), nn.Dense(10)
        self.steps = 0

    def forward(self, x):
        self.steps += autograd.is_recording()
        hidden = self.one(x)
        left_out = isinstance(x, mx.nd.NDArray) and self.steps % 2
        return self.head(hidden if left_out else hidden + self.other(x))


def sometimes_used():
    return SometimesUsed()


def other_on_rank_1():
    net = nn.HybridSequential()
    net.add(nn.Dense(16 if os.environ["TEST_RANK"] == "1" else 8), nn.Dense(10))
    return net


def wrong(labels, outputs):
    """One value a row: 1 where the highest score is not at the label. Less is better."""
    return (outputs.argmax(1) != labels).astype("float32")


def embedded():
    net = nn.HybridSequential()
    net.add(nn.Embedding(10, 3), nn.Dense(1))
    return net
