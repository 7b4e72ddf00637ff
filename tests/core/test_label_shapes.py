"""Labels that MXNet would reshape or broadcast to the output of a network are refused by name."""

from __future__ import annotations

import math
import re
from typing import Optional

import pytest

from mxspark.data.spool import ColumnSpec
from mxspark.job import catalog, label_shapes
from mxspark.job.spec import Component, Function

ELEMENTWISE = ["l1", "l2", "huber", "hinge", "squared_hinge", "logistic", "sigmoid_binary_cross_entropy", "kl_div"]
SOFTMAX, DENSE = Component("softmax_cross_entropy"), Component("softmax_cross_entropy", {"sparse_label": False})
SIZES = (
    r"label 'y' has shape \[.*\] in a row, but training.loss .* takes \[.*\]: give the network "
    r"(\d+) outputs? a row, or correct the label"
)
ORDER = r"label 'y' has shape \[3, 2\] in a row where .* takes \[2, 3\], .* in the order of the other: transpose one"


def problem(loss: Component, label: tuple[int, ...], output: tuple[int, ...]) -> Optional[str]:
    return label_shapes.problem(loss, ColumnSpec("y", ("y",), label, "float32"), output)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_a_loss_of_one_by_one_takes_as_many_values_as_there_are_outputs(name: str) -> None:
    loss = Component(name)
    for label, output in (((), (8, 1)), ((1,), (8,)), ((3,), (8, 3)), ((3,), (8, 3, 1)), ((6,), (8, 2, 3)), ((), (1,))):
        assert problem(loss, label, output) is None
    for label, output in (((), (8, 2)), ((2,), (8, 1)), ((8,), (8, 1)), ((), (8, 8))):
        found = problem(loss, label, output)
        told = re.match(SIZES, found or "")
        assert told and int(told[1]) == math.prod(label), found
    found = problem(loss, (3, 2), (8, 2, 3))
    assert found is not None and re.match(ORDER, found), found


def test_a_class_index_has_the_shape_of_the_output_without_its_classes() -> None:
    for loss, label, output in (
        (SOFTMAX, (), (8, 3)), (SOFTMAX, (1,), (8, 3)), (SOFTMAX, (5,), (8, 5, 3)), (DENSE, (3,), (8, 3)),
        (Component("softmax_cross_entropy", {"axis": 1}), (5,), (8, 3, 5)), (Component("ctc"), (4,), (8, 20, 5)),
    ):  # fmt: skip
        assert problem(loss, label, output) is None
    for loss, label, output, needed in (
        (SOFTMAX, (5,), (8, 4, 3), "one output for each class of each of the label's 5 values"),
        (SOFTMAX, (), (8, 4, 3), "one output for each class, or"),
        (DENSE, (), (8, 3), "1 output a row"),
    ):
        assert f"give the network {needed}" in (problem(loss, label, output) or "")


def test_every_loss_is_looked_at() -> None:
    assert {*ELEMENTWISE, "softmax_cross_entropy", "ctc"} == set(catalog.LOSSES)


def test_a_loss_of_the_users_is_left_to_the_first_step() -> None:
    mine = Component("mine", function=Function("mine", path="a:mine"))
    assert problem(mine, (2,), (8, 3)) is None and label_shapes.outputs_problem(mine, [(8, 3), (8, 1)]) is None


def test_a_named_loss_takes_one_output() -> None:
    assert label_shapes.outputs_problem(SOFTMAX, [(8, 3)]) is None
    found = label_shapes.outputs_problem(SOFTMAX, [(8, 3), (8, 1)])
    assert found is not None and found.startswith(
        "the network has 2 outputs, of shape [8, 3], [8, 1], but training.loss"
    )
