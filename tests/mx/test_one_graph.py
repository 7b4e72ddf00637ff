"""A network that Python makes another graph of, in training or each time, is refused; what decides by itself is not."""

from __future__ import annotations

import random
from typing import Any

import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd, gluon
from mxnet.gluon import nn, rnn
from mxnet.gluon.model_zoo import vision

from mxspark.data.spool import ColumnSpec
from mxspark.errors import TrainingCodeError
from mxspark.job.spec import BestBy, Component, Function, TrainingSpec
from mxspark.mx.model import network

DENSE, SHAPE = (6, 3), (6, 4, 3)


class Asks(gluon.HybridBlock):  # type: ignore[misc]
    """What a function makes of the input and two layers, in `hybrid_forward`."""

    def __init__(self, forward: Any) -> None:
        super().__init__()
        self.calls = 0
        self._forward_of = forward
        with self.name_scope():
            self.one, self.other = nn.Dense(2), nn.Dense(2)

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        self.calls += 1
        return self._forward_of(self, F, x)


class Anew(Asks):
    """The same in `forward`, which is run for every batch."""

    def forward(self, x: Any) -> Any:
        return self.hybrid_forward(mx.sym if isinstance(x, mx.sym.Symbol) else mx.nd, x)


class Around(gluon.nn.HybridSequential):  # type: ignore[misc]
    """What asks for the mode around what MXNet keeps."""

    def forward(self, x: Any) -> Any:
        made = super().forward(x)
        return made * 3 if autograd.is_training() else made


def prepare(build: Any, shape: tuple[int, ...] = DENSE) -> network.Network:
    default = Component("default")
    best_by = BestBy("loss", "validation", "min")
    training = TrainingSpec(Function.ship(build), Component("l2"), default, None, default, (), best_by, 1, 0)
    return network.prepare(training, [shape], [ColumnSpec("x", ("x",), shape[1:], "float32")])


def thrice(net: Any, F: Any, x: Any) -> Any:
    return net.one(x) * 3 if autograd.is_training() else net.one(x)


def layer(net: Any, F: Any, x: Any) -> Any:
    return net.one(x) + net.other(x) * 0 if autograd.is_training() else net.other(x) + net.one(x) * 0


def counts(net: Any, F: Any, x: Any) -> Any:
    return net.one(x) * net.calls


def draws(net: Any, F: Any, x: Any) -> Any:
    return net.one(x) * random.random()


def skips(net: Any, F: Any, x: Any) -> Any:
    return net.one(x) if random.random() < 2 else net.other(x)


def skips_by_numpy(net: Any, F: Any, x: Any) -> Any:
    return net.one(x) if np.random.rand() < 2 else net.other(x)


MODE, EACH = "makes another graph in training than in prediction", "makes another graph each time it is traced"


@pytest.mark.parametrize(
    ("forward", "says"),
    [
        (thrice, MODE),
        (layer, MODE),
        (counts, EACH),
        (draws, EACH),
        (skips, "draws random numbers in Python"),
        (skips_by_numpy, "draws random numbers in Python"),
    ],
)
@pytest.mark.parametrize("is_inside", [False, True])
def test_a_graph_that_python_decides_is_refused(forward: Any, says: str, is_inside: bool) -> None:
    def build() -> Any:
        net = Around() if is_inside else nn.HybridSequential()
        net.add(Asks(forward))
        return net

    with pytest.raises(TrainingCodeError, match=says) as caught:
        prepare(build)
    assert "hybrid_forward of " in str(caught.value) and "cannot be exported" not in str(caught.value)


def test_the_difference_is_named() -> None:
    with pytest.raises(TrainingCodeError, match=r"_mulscalar0 is _mul_scalar\(.*scalar=3.* in training.*forward\(\)"):
        prepare(lambda: Asks(thrice))


def test_a_forward_that_counts_publishes_another_network_than_it_validates() -> None:
    with pytest.raises(TrainingCodeError, match=EACH):
        prepare(lambda: Anew(counts))


def lstm() -> Any:
    net = nn.HybridSequential()
    net.add(
        rnn.LSTM(4, layout="NTC", input_size=3, dropout=0.5, num_layers=2),
        rnn.GRU(3, layout="NTC", input_size=4),
        nn.Dense(1),
    )
    return net


class Unrolled(gluon.HybridBlock):  # type: ignore[misc]
    """Cells, a loop in the graph, and Dropout."""

    def __init__(self) -> None:
        super().__init__()
        with self.name_scope():
            self.cell, self.drop = rnn.GRUCell(3, input_size=3), nn.Dropout(0.5)

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        steps, _ = F.contrib.foreach(lambda item, state: (item + state, item), F.swapaxes(x, 0, 1), F.sum(x, axis=1))
        outputs, _ = self.cell.unroll(4, self.drop(F.swapaxes(steps, 0, 1)), layout="NTC", merge_outputs=True)
        return outputs


def usual() -> Any:
    net = nn.HybridSequential()
    net.add(nn.Dense(4), nn.BatchNorm(), nn.Dropout(0.5), nn.LeakyReLU(0.1), nn.HybridLambda("relu"), nn.Dense(1))
    return net


@pytest.mark.parametrize(
    ("build", "shape"),
    [
        (usual, DENSE),
        (lstm, SHAPE),
        (lambda: vision.mobilenet_v2_0_25(classes=2), (2, 3, 32, 32)),
        (lambda: Anew(thrice), DENSE),
        (lambda: Anew(layer), DENSE),
        (Unrolled, SHAPE),
    ],
)
def test_what_decides_by_itself_or_is_run_anew_is_trained(build: Any, shape: tuple[int, ...]) -> None:
    before = mx.gluon.HybridBlock.forward
    prepare(build, shape)
    assert mx.gluon.HybridBlock.forward is before


@pytest.mark.filterwarnings("ignore:Cannot decide type")
def test_a_mode_that_is_asked_for_around_what_is_kept_is_right() -> None:
    def build() -> Any:
        net = Around()
        net.add(nn.Dense(2), nn.Dropout(0.5))
        return net

    made = prepare(build)
    x = mx.nd.ones(DENSE)
    with autograd.record():
        made.block(x).wait_to_read()
    exported = gluon.SymbolBlock(made.symbol, [mx.sym.var("data")], made.block.collect_params())
    np.testing.assert_array_equal(made.block(x).asnumpy(), exported(x).asnumpy())


def test_what_is_drawn_after_it_is_what_was_drawn_before_there_was_the_check() -> None:
    class Draws(Around):
        def forward(self, x: Any) -> Any:
            return super().forward(x) + 0 * random.random() ** 0

    def build() -> Any:
        net = Draws()
        net.add(nn.Dense(2))
        return net

    prepare(build)
    after = random.random()
    random.seed(0)
    random.random()  # of the one trace that there was
    assert after == random.random()
