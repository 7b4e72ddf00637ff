"""What is said of a network before the first step, as it trains something else than its user thinks."""

from __future__ import annotations

import mxnet as mx
import numpy as np
import pytest
from alone import Alone, together
from mxnet import gluon
from mxnet.gluon import nn, rnn
from mxnet.gluon.model_zoo import vision
from role_harness import digits, make_spec

from mxspark.errors import InputError
from mxspark.job.spec import Component
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


def said(folder, network, shape=(1, 8, 8), exchange=None, arrays=None, **changes):
    given = {"counts": (ROWS,), "arrays": arrays or digits(ROWS, shape=shape), "metrics": (), **changes}
    return GluonTrainable(make_spec(folder, network=network, **given), exchange or Alone()).notes()


def stacked(*layers):
    net = nn.HybridSequential()
    net.add(*layers)
    return net


def deep():
    dense = (nn.Flatten(), nn.Dropout(0.5), nn.Dense(16), nn.LayerNorm(), nn.Dense(10))
    return stacked(nn.Conv2D(4, 3), nn.BatchNorm(), nn.Activation("relu"), nn.InstanceNorm(), nn.GroupNorm(2), *dense)


def lenet():
    convolutions = (nn.Conv2D(6, 5, activation="tanh"), nn.AvgPool2D(2, 2), nn.Conv2D(16, 5, activation="relu"))
    return stacked(*convolutions, nn.MaxPool2D(2, 2), nn.Flatten(), nn.Dense(84, activation="relu"), nn.Dense(10))


def resnet():
    return vision.resnet18_v1(classes=10, thumbnail=True)


def lstm():
    return stacked(rnn.LSTM(8, 2, layout="NTC", dropout=0.2, bidirectional=True), nn.Dense(10))


def attending(F, x, layer):
    """Each step of a sequence over all steps of its row."""
    return layer(F.batch_dot(F.softmax(F.batch_dot(x, x, transpose_b=True)), x))


def autoencoder():
    return stacked(nn.Dense(4, activation="relu"), nn.Dense(12, activation="sigmoid"))


def regression():
    return stacked(nn.Dense(8, activation="relu"), nn.Dense(1, activation="sigmoid"))


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


@pytest.mark.parametrize(
    ("network", "shape"),
    [
        (deep, (1, 8, 8)),  # what mixes rows in training alone does not count
        (lenet, (1, 28, 28)),
        (resnet, (3, 16, 16)),
        (lstm, (7, 5)),
        (network_of(attending), (6, 4)),
    ],
)
def test_of_usual_networks_nothing_is_said(tmp_path, network, shape):
    assert said(tmp_path, network, shape, schedule=Component("cosine", {"max_update": 4})) == []


@pytest.mark.parametrize(("network", "classes"), [(autoencoder, 12), (regression, 1)])
def test_of_a_sigmoid_with_squares_nothing_is_said(tmp_path, network, classes):
    rng = np.random.default_rng(1)
    pixels = rng.random((ROWS, 12)).astype(np.float32)
    arrays = {"pixels": pixels, "digit": pixels if classes > 1 else rng.integers(0, 2, ROWS).astype(np.float32)}
    metrics = ["mse"] if classes > 1 else [Component("binary_accuracy", {"threshold": 0.5})]
    assert said(tmp_path, network, arrays=arrays, loss=Component("l2"), metrics=metrics) == []


def copies(folder, answer, features, classes=5, **changes):
    """Return what is said of features beside a label, whose columns have other names."""
    arrays = {"pixels": features, "digit": answer}
    shape = (classes,) if features.ndim == answer.ndim else ()
    network = network_of(
        lambda F, x, layer: layer(F.expand_dims(x, -1) if shape else x), lambda: _dense(classes, shape)
    )
    notes = said(folder, network, arrays=arrays, **changes)
    return [note for note in notes if "number for number, so that the network is given the answer" in note]


def _dense(classes, shape):
    return nn.Dense(classes, flatten=not shape)


def test_a_feature_that_is_or_holds_the_label_is_named(tmp_path):
    rng = np.random.default_rng(1)
    tokens = rng.integers(0, 5, (ROWS, 6)).astype(np.int32)
    (note,) = copies(tmp_path / "a", tokens, tokens.astype(np.float32))
    assert note.startswith("data.features.pixels is the label 'digit'")
    assert not copies(tmp_path / "b", np.roll(tokens, -1, 1), tokens.astype(np.float32))
    numbers = rng.normal(size=(ROWS, 3)).astype(np.float32)
    (note,) = copies(tmp_path / "c", numbers[:, 1].copy(), numbers, 1, loss=Component("l2"))
    assert note.startswith("data.features.pixels holds the label 'digit'")
    assert not copies(tmp_path / "d", numbers.sum(1), numbers, 1, loss=Component("l2"))


@pytest.mark.parametrize(
    ("layers", "initializer", "is_said"),
    [
        ((8, 10), "ones", True),
        ((8, 10), Component("constant", {"value": 0.1}), True),
        ((8, 10), "xavier", False),
        ((10,), "ones", False),
    ],
)
def test_units_that_stay_the_same_are_named(tmp_path, layers, initializer, is_said):
    notes = said(tmp_path, lambda: stacked(*map(nn.Dense, layers)), initializer=initializer)
    assert bool([note for note in notes if "makes all units of 0.weight the same" in note]) == is_said, notes


@pytest.mark.parametrize(
    "schedule",
    [
        Component("cosine", {"max_update": 2}),
        lambda base_lr: mx.lr_scheduler.CosineScheduler(2, base_lr=base_lr),
        mx.lr_scheduler.CosineScheduler(2, base_lr=0.1),
    ],
)
def test_a_schedule_of_epochs_is_named_however_it_is_given(tmp_path, schedule):
    notes = said(tmp_path, deep, schedule=schedule, epochs=10)
    assert [note for note in notes if "schedule cosine leaves a learning rate of 0 from step 2 of 20 on" in note], notes


def test_a_batch_of_more_rows_than_there_are_is_said_where_it_counts(tmp_path):
    def counting(name, network, batch_size):
        notes = said(tmp_path / name, network, batch_size=batch_size)
        return [note for note in notes if f"set training.batch_size: {ROWS} or less" in note]

    assert counting("norm", deep, ROWS + 1)
    assert not counting("as advised", deep, ROWS) and not counting("without", lambda: stacked(nn.Dense(10)), ROWS + 1)
    assert not counting("fixed", lambda: stacked(nn.BatchNorm(use_global_stats=True), nn.Dense(10)), ROWS + 1)


def test_thresholds_of_amounts_are_refused_and_as_the_message_says_are_right(tmp_path):
    pixels = np.random.default_rng(1).random((ROWS, 2)).astype(np.float32)
    arrays = {"pixels": pixels, "digit": (np.arange(ROWS) < 1).astype(np.float32)}
    given = {"arrays": arrays, "loss": Component("l2")}
    with pytest.raises(InputError, match="f1 parts the classes at its threshold of 0, but"):
        said(tmp_path / "bad", lambda: nn.Dense(1), metrics=["f1"], **given)
    assert not said(tmp_path, lambda: nn.Dense(1), metrics=[Component("f1", {"threshold": 0.5})], **given)


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
