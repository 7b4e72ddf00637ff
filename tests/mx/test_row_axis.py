"""Which axis of an output is rows: whatever the lengths, it is the first, or the network is refused by name."""

from __future__ import annotations

from typing import Any

import mxnet as mx
import pytest
from mxnet import gluon
from mxnet.gluon import nn, rnn

from mxspark.errors import InputError, TrainingCodeError
from mxspark.job.spec import Component, Function
from mxspark.mx.model import export, network, row_axis

ROWS = 6


class Net(gluon.HybridBlock):
    """What a function makes of the input and a layer."""

    def __init__(self, forward: Any, layer: Any = None) -> None:
        super().__init__()
        self._forward_of = forward
        self.layer = layer

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return self._forward_of(F, x, self.layer)


def check(net: Any, *shape: int) -> None:
    """Check a network for batches of `ROWS` rows of a shape."""
    row_axis.check("mine:net", export.trace(net, 1), {"data": (ROWS, *shape)})


def dense() -> Any:
    return nn.Dense(3, flatten=False)


# steps as many as rows, so that no shape tells one from the other
@pytest.mark.parametrize("steps", [4, ROWS])
@pytest.mark.parametrize(
    ("forward", "says"),
    [
        (
            lambda F, x, layer: F.swapaxes(layer(x), 0, 1),
            r"output 0 of the network mine:net, \S+, has shape \(STEPS, 6, 3\) for 6 rows, with the rows on axis 1, "
            r"and .*: put them first in the network, F.swapaxes\(x, 0, 1\), and let the loss follow",
        ),
        (
            lambda F, x, layer: F.reshape(layer(x), (-3, 0)),
            r"has shape \(\d+, 3\) for 6 rows, rows and others on one axis, .*: reshape it with one entry a row, "
            r"F.reshape\(x, shape=\(-1, STEPS, ...\)\), in the network, and let the loss follow",
        ),
        (
            lambda F, x, layer: (layer(x), F.mean(layer(x), axis=(0, 1, 2))),
            r"output 1 of the network mine:net, \S+, has shape \(1,\) for 6 rows and no axis that follows the rows, "
            r".*: return one entry a row, or leave it out of what the network returns",
        ),
        (
            lambda F, x, layer: F.dot(F.sum(x, axis=(1, 2), keepdims=True).reshape((-1, 1)), layer(x).reshape((1, -1))),
            r"which follows the rows on axis 0 and 1, .*: return one entry a row",
        ),
        (lambda F, x, layer: F.transpose(layer(x), (2, 1, 0)), r"with the rows on axis 2, .*F.swapaxes\(x, 0, 2\)"),
    ],
    ids=["time major", "one axis", "none", "rows by rows", "last"],
)
def test_outputs_whose_first_axis_is_not_the_rows_are_refused(forward: Any, says: str, steps: int) -> None:
    with pytest.raises(TrainingCodeError, match=says.replace("STEPS", str(steps))):
        check(Net(forward, dense()), steps, 2)


def test_outputs_with_the_rows_first_pass() -> None:
    check(Net(lambda F, x, layer: layer(x), dense()), ROWS, 2)
    check(Net(lambda F, x, layer: (layer(x), F.sum(x, axis=(1, 2))), dense()), ROWS, 2)
    check(Net(lambda F, x, layer: F.swapaxes(F.swapaxes(layer(x), 0, 1), 0, 1), dense()), ROWS, 2)  # as advised
    check(Net(lambda F, x, layer: F.reshape(F.reshape(layer(x), (-3, 0)), shape=(-1, 4, 3)), dense()), 4, 2)  # too


class WithState(gluon.HybridBlock):
    """A recurrent layer that is given its first state."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.layer = rnn.LSTM(5, layout="NTC")
        self.rows = rows

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return self.layer(x, self.layer.begin_state(batch_size=self.rows, func=F.zeros))[0]


@pytest.mark.parametrize(
    ("forward", "where"),
    [
        (
            lambda F, x, layer: layer(F.reshape(x, (ROWS, -1))),
            r"Reshape \S+ \(shape \(6, -1\)\).*: write 0 or -1 in ",
        ),
        (lambda F, x, layer: F.reshape(layer(x), (ROWS, 3)), r"Reshape \S+ \(shape \(6, 3\)\).*: write 0 or -1 in "),
        (lambda F, x, layer: layer(x) + F.zeros((ROWS, 3)), r"_zeros \S+ \(shape \(6, 3\)\)"),
        (lambda F, x, layer: layer(x) + F.broadcast_to(F.ones((1, 3)), (ROWS, 3)), r"broadcast_to \S+ \(shape \(6, 3"),
        (lambda F, x, layer: F.broadcast_add(layer(x), F.arange(ROWS).expand_dims(1)), r"_arange \S+ \(start 6"),
    ],
    ids=["before", "after", "zeros", "broadcast_to", "arange"],
)
def test_a_network_of_one_number_of_rows_is_refused(forward: Any, where: str) -> None:
    with pytest.raises(TrainingCodeError, match=rf"6 rows and (not of|for) 7.*{where}"):
        check(Net(forward, nn.Dense(3)), 4)


@pytest.mark.parametrize(
    "forward",
    [
        lambda F, x, layer: layer(F.reshape(x, (0, -1))),
        lambda F, x, layer: layer(F.reshape(x, (-1, 4))),
        lambda F, x, layer: layer(F.reshape(x, (0, -4, 2, -1))),
        lambda F, x, layer: layer(F.reshape(x, (-2,))),
        lambda F, x, layer: layer(x) + F.zeros_like(layer(x)),
        lambda F, x, layer: layer(x) + F.broadcast_like(F.ones((1, 3)), layer(x)),
        lambda F, x, layer: F.broadcast_add(layer(x), F.contrib.arange_like(x, axis=0).expand_dims(1)),
    ],
    ids=["0", "-1", "-4", "-2", "zeros_like", "broadcast_like", "arange_like"],
)
def test_what_is_advised_in_place_of_a_number_of_rows_passes(forward: Any) -> None:
    check(Net(forward, nn.Dense(3)), 4)


def test_the_first_state_of_a_layer_has_no_number_of_rows() -> None:
    with pytest.raises(
        TrainingCodeError, match=r"takes batches of 6 rows and not of 7, .* begin_state\(batch_size=0\)"
    ):
        check(WithState(ROWS), 4, 2)
    check(WithState(0), 4, 2)


@pytest.mark.parametrize("kind", [rnn.LSTM, rnn.GRU, rnn.RNN])
def test_a_layer_that_takes_rows_for_steps_is_refused(kind: Any) -> None:
    """gluon.rnn has the steps first unless told; the shapes are right all the same."""
    with pytest.raises(
        TrainingCodeError, match=r"layer \S+ takes an array of shape \(6, 4, 2\) .* axis 0 is its steps"
    ):
        check(Net(lambda F, x, layer: layer(x), kind(5)), 4, 2)
    check(Net(lambda F, x, layer: layer(x), kind(5, layout="NTC")), 4, 2)  # as advised
    check(Net(lambda F, x, layer: F.swapaxes(layer(F.swapaxes(x, 0, 1)), 0, 1), kind(5)), 4, 2)


def test_the_last_of_a_sequence_is_not_the_last_row() -> None:
    def last(axis: int) -> Any:
        return lambda F, x, layer: F.broadcast_add(layer(x), F.SequenceLast(layer(x), axis=axis).expand_dims(axis))

    with pytest.raises(TrainingCodeError, match="goes through the rows of a batch as through the steps of a sequence"):
        check(Net(last(0), dense()), 4, 2)
    check(Net(last(1), dense()), 4, 2)


def time_major() -> Any:
    return Net(lambda F, x, layer: F.swapaxes(layer(x), 0, 1), dense())


def training(loss: Component) -> Any:
    from mxspark.job.spec import BestBy, TrainingSpec

    sgd, zeros = Component("sgd", {"learning_rate": 0.1}), Component("zeros")
    made = Function.ship(time_major)
    return TrainingSpec(made, loss, sgd, None, zeros, (), BestBy("loss", "validation", "min"), 1, 0)


def test_a_network_is_checked_when_it_is_made_ready() -> None:
    with pytest.raises(TrainingCodeError, match=r"time_major.* with the rows on axis 1"):
        network.prepare(training(Component("l2")), [(ROWS, ROWS, 2)])


def test_an_axis_option_that_is_the_rows_is_refused() -> None:
    with pytest.raises(InputError, match=r"training.loss kl_div has axis -2, which is that of the rows"):
        network.check_labels(training(Component("kl_div", {"axis": -2})), (ROWS, 3), (), None)  # type: ignore[arg-type]
    for axis in (2, -3):
        with pytest.raises(InputError, match=rf"has axis {axis}, but the output has shape \(6, 3\)"):
            network.check_labels(training(Component("kl_div", {"axis": axis})), (ROWS, 3), (), None)  # type: ignore[arg-type]


def test_without_the_check_a_batch_would_be_cut_along_the_steps() -> None:
    """Why it is needed: what a metric would get of two real rows of six."""
    net = time_major()
    net.initialize()
    out = net(mx.nd.ones((ROWS, 4, 2)))
    assert out.shape == (4, ROWS, 3) and out[:2].shape == (2, ROWS, 3)
