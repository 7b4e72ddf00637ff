"""Labels of which a row has several distributions: each adds up to 1 along the axis of the classes, or is refused."""

from __future__ import annotations

import re

import numpy as np
import pytest
from alone import Alone
from mxnet import gluon
from mxnet.gluon import nn
from role_harness import make_spec

from mxspark.errors import DataError
from mxspark.job.spec import Component, Function
from mxspark.mx.loop.gluon import GluonTrainable

ROWS = 20
RNG = np.random.default_rng(1)
GOOD = RNG.dirichlet(np.ones(3), size=(ROWS, 2)).astype(np.float32)


class Net(gluon.HybridBlock):
    """Gives scores of the shape of a label."""

    def __init__(self, shape):
        super().__init__()
        self.shape = shape
        self.dense = nn.Dense(int(np.prod(shape)))

    def hybrid_forward(self, F, x):
        return F.reshape(self.dense(x), (-1, *self.shape))


def refused(folder, label, loss=None, output=None, **options):
    """Return why a label of some shape is refused; nothing where it is not."""
    arrays = {"pixels": RNG.normal(size=(ROWS, 4)).astype(np.float32), "digit": label.astype(np.float32)}
    loss = loss or Component("softmax_cross_entropy", {"sparse_label": False, **options})
    shape = output or label.shape[1:]
    given = {"counts": (ROWS,), "arrays": arrays, "network": lambda: Net(shape), "loss": loss, "metrics": ()}
    try:
        GluonTrainable(make_spec(folder, **given), Alone())
    except DataError as error:
        return str(error)
    return ""


def changed(row):
    label = GOOD.copy()
    label[-1] = row
    return label


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (GOOD[0], ""),
        ([[0.2, 0.3, 0.5], [0, 0, 0]], ""),  # a step that fills up a sequence
        (
            [[0.2, 0.3, 0.1], [0.2, 0.3, 0.5]],
            "1 of 20 rows whose values along axis 2, .* but to 0.6, and training.loss",
        ),
        ([[0.9, 0.9, 0.2], [0, 0, 0]], "do not add up to 1, but to 2, "),
        ([[0, 0, 0], [0, 0, 0]], "but to 0, "),
        ([[1, 1, 0], [0.1, 0.1, 0.1]], "set training.loss: sigmoid_binary_cross_entropy"),
    ],
)
def test_distributions_of_several_places_are_held_to_add_up(tmp_path, row, says):
    message = refused(tmp_path, changed(row))
    assert re.search(says, message) if says else not message


def test_the_axis_is_that_of_the_loss(tmp_path):
    turned = GOOD.transpose(0, 2, 1)
    assert not refused(tmp_path / "1", turned, axis=1)
    assert "along axis 2" in refused(tmp_path / "2", turned)
    assert "along axis 1" in refused(tmp_path / "3", GOOD, axis=1)


def test_one_place_with_axes_of_its_own_is_one_too(tmp_path):
    assert not refused(tmp_path / "good", GOOD[:, :1])
    assert "do not add up" in refused(tmp_path / "bad", GOOD[:, :1] / 2)
    assert not refused(tmp_path / "flat", GOOD[:, :1], output=(3,))
    assert "do not add up" in refused(tmp_path / "of flat", GOOD[:, :1] / 2, output=(3,))


def test_a_divergence_and_an_object_are_held_to_it_too(tmp_path):
    divergence = Component("kl_div", {"from_logits": False})
    assert not refused(tmp_path / "good", GOOD, divergence)
    assert "training.loss kl_div takes one probability" in refused(tmp_path / "bad", GOOD / 2, divergence)
    given = Component("mine", function=Function.ship(gluon.loss.SoftmaxCELoss(sparse_label=False)))
    assert "softmax_cross_entropy takes one probability" in refused(tmp_path / "given", GOOD / 2, given)
