"""Labels that ctc cannot spell: MXNet gives them a loss of 0, or a number that means nothing."""

from __future__ import annotations

import mxnet as mx
import numpy as np
import pytest
from alone import Alone
from mxnet import gluon
from mxnet.gluon import nn
from role_harness import make_spec

from mxspark.errors import DataError
from mxspark.job.spec import Component, Function
from mxspark.mx.loop.gluon import GluonTrainable

ROWS, STEPS, CLASSES = 30, 4, 5


def speller():
    net = nn.HybridSequential()
    net.add(nn.Dense(CLASSES, flatten=False))
    return net


def refused(folder, row, good=(1, 2, -1, -1), steps=STEPS, loss=None):
    """Return why a job is refused of whose rows one has the given label; what is said of it where it is not."""
    labels = np.array([good] * ROWS, dtype=np.float32)
    labels[-1] = row
    arrays = {"pixels": np.random.default_rng(1).normal(size=(ROWS, steps, 3)).astype(np.float32), "digit": labels}
    given = {"counts": (ROWS,), "arrays": arrays, "network": speller, "loss": loss or Component("ctc"), "metrics": ()}
    try:
        return "".join(GluonTrainable(make_spec(folder, **given), Alone()).notes())
    except DataError as error:
        return str(error)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ((1, 2, 3, 2), ""),
        ((1, 1, 2, -1), ""),
        ((0, -1, -1, -1), ""),
        ((1, 1, 2, 2), "1 that need up to 6 steps (one a class, and one between two that are the same), where the "
                       "network has 4, whose loss is 0: leave these rows out"),
        ((1, 1, 1, -1), "1 that need up to 5 steps (one a class, "),
        ((-1, -1, -1, -1), "1 without a class, whose loss is a number without a meaning"),
        ((1, -1, 2, -1), "1 with a -1 before a class, which ends them there"),
    ],
)  # fmt: skip
def test_labels_that_cannot_be_spelled_are_refused(tmp_path, row, says):
    message = refused(tmp_path, row)
    assert (f"label 'digit' has rows that ctc cannot spell: {says}" in message) if says else not message


def test_what_is_refused_has_no_loss_and_what_passes_has_one():
    def loss(*row):
        return float(gluon.loss.CTCLoss()(mx.nd.zeros((1, STEPS, CLASSES)), mx.nd.array([row])).asscalar())

    assert loss(1, 1, 2, -1) > 0 and loss(1, 2, 3, 2) > 0
    assert loss(1, 1, 2, 2) == loss(1, 1, 1, -1) == 0
    # of blanks alone it would be this; what is there is whatever lay in memory
    assert loss(-1, -1, -1, -1) != pytest.approx(STEPS * np.log(CLASSES), rel=1e-3)
    assert loss(1, -1, 2, -1) == pytest.approx(loss(1, -1, -1, -1), rel=1e-6)


def test_an_object_of_mxnet_is_looked_at_as_the_name_is(tmp_path):
    loss = Component("mine", function=Function.ship(gluon.loss.CTCLoss()))
    assert "1 without a class" in refused(tmp_path, (-1, -1, -1, -1), loss=loss)


@pytest.mark.parametrize(
    ("row", "good", "is_said"),
    [
        ((1, 2, 3, 0), (1, 2, 0, 0), True),
        ((1, 2, 3, 0), (1, 0, 2, 0), False),
        ((1, 2, 0, -1), (1, 2, 0, 0), False),
        ((1, 2, 3, 0), (3, 2, 1, 0), False),
    ],
)
def test_zeros_for_padding_are_told_from_a_class(tmp_path, row, good, is_said):
    said = refused(tmp_path, row, good, steps=6)
    assert ("label 'digit' has 0 behind the last class of a row, as if to fill it up" in said) == is_said, said


def test_more_values_than_steps_are_refused_by_name(tmp_path):
    wide = (1, 2, -1, -1, -1)
    assert "has 5 values in a row, padding included, but the network has 4 steps" in refused(tmp_path, wide, wide)
