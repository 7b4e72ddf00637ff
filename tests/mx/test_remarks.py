"""What is said of a network before the first step, as it trains something else than its user thinks."""

from __future__ import annotations

import pytest
from alone import Alone, together
from mxnet import gluon
from mxnet.gluon import nn
from role_harness import digits, make_spec

from mxspark.mx.loop.gluon import GluonTrainable

ROWS = 40


def network_of(body, layers=lambda: nn.Dense(10)):
    """Return a function that makes a network of `body(F, x, layer)`."""

    def network():
        class Net(gluon.HybridBlock):
            def __init__(self):
                super().__init__()
                self.layer = layers()

            def hybrid_forward(self, F, x):
                return body(F, x, self.layer)

        return Net()

    return network


def said(folder, network, shape=(1, 8, 8), exchange=None):
    spec = make_spec(folder, counts=(ROWS,), arrays=digits(ROWS, shape=shape), network=network, metrics=())
    return GluonTrainable(spec, exchange or Alone()).notes()


def deep():
    net = nn.HybridSequential()
    net.add(nn.Conv2D(4, 3), nn.BatchNorm(), nn.Activation("relu"), nn.Flatten(), nn.Dropout(0.5), nn.Dense(10))
    return net


def transposed(F, x, layer):
    """A reshape meant to bring an axis to the front: each row gets numbers of others."""
    return layer(F.reshape(F.transpose(F.flatten(x)), (-1, 64)))


@pytest.mark.parametrize(
    ("body", "mixes"),
    [
        (lambda F, x, layer: layer(x), False),
        (lambda F, x, layer: F.softmax(layer(x), axis=0), True),
        (lambda F, x, layer: F.broadcast_sub(layer(x), F.mean(layer(x), axis=0, keepdims=True)), True),
        (lambda F, x, layer: F.broadcast_sub(layer(x), F.mean(layer(x), axis=1, keepdims=True)), False),
        (transposed, True),
        (lambda F, x, layer: F.Dropout(layer(x), p=0.5), False),
        (lambda F, x, layer: layer(x) + F.random.normal_like(layer(x)), False),
    ],
)
def test_a_network_that_mixes_rows_is_named(tmp_path, body, mixes):
    found = [
        note for note in said(tmp_path, network_of(body)) if "makes of a row depends on the rows beside it" in note
    ]
    assert bool(found) == mixes


def test_what_mixes_rows_in_training_alone_does_not_count(tmp_path):
    assert said(tmp_path, deep) == []


@pytest.mark.parametrize(
    ("shape", "body", "is_said"),
    [
        ((12, 12, 3), lambda F, x, layer: F.flatten(layer(x)), True),
        ((12, 12, 3), lambda F, x, layer: F.flatten(layer(F.cast(x / 255, "float32"))), True),
        ((12, 12, 3), lambda F, x, layer: F.flatten(layer(F.transpose(x, (0, 3, 1, 2)))), False),
        ((3, 12, 12), lambda F, x, layer: F.flatten(layer(x)), False),
        ((8, 12, 12), lambda F, x, layer: F.flatten(layer(x)), False),
    ],
)
def test_channels_that_come_last_are_named(tmp_path, shape, body, is_said):
    notes = said(tmp_path, network_of(body, lambda: nn.Conv2D(10, 3)), shape)
    found = [note for note in notes if "takes the first axis, 12, for its channels" in note]
    assert bool(found) == is_said
    assert not found or found[0].startswith("data.features.pixels has shape [12, 12, 3] in a row, and the convolution")


def test_one_worker_says_it(tmp_path):
    mixing = network_of(lambda F, x, layer: F.softmax(layer(x), axis=0))
    notes = together(2, lambda exchange: said(tmp_path / str(exchange.rank), mixing, exchange=exchange))
    assert notes[0] and not notes[1]
