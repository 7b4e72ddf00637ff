"""What a message about labels advises gives the right number in MXNet, and what it refuses gives a wrong one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import mxnet as mx
import numpy as np
import pytest

from mxspark.data.spool import Content, Spool, SpooledArray
from mxspark.errors import DataError
from mxspark.job.spec import Component, Function
from mxspark.mx.loop.metrics import Metrics
from mxspark.mx.model import components, network

SCORES = np.array([[2.0], [-1.0], [0.5]])
CLASS_SCORES = np.array([[2.0, -1.0, 0.0], [0.5, 0.5, 3.0], [0.0, 1.0, 0.0]])
TRUTH = np.array([1.0, 0.0, 1.0])  # the positive rows
INDEX = np.array([0, 2, 1])
SHARES = np.array([[0.2, 0.3, 0.5], [0.1, 0.1, 0.8], [0.0, 1.0, 0.0]])


def value(name: str, scores: Any, labels: Any, **options: Any) -> Any:
    loss = components.build_loss(Component(name, options))
    return loss(mx.nd.array(scores), mx.nd.array(labels)).asnumpy()


def cross_entropy(p: Any) -> Any:
    """Return that of two classes with probabilities `p` for the second, by hand."""
    q = 1 / (1 + np.exp(-SCORES[:, 0]))
    return -(p * np.log(q) + (1 - p) * np.log(1 - q))


def softmax_cross_entropy(p: Any) -> Any:
    logarithms = CLASS_SCORES - np.log(np.exp(CLASS_SCORES).sum(axis=1, keepdims=True))
    return -(p * logarithms).sum(axis=1)


def hinge(signs: Any) -> Any:
    return np.maximum(0, 1 - signs * SCORES[:, 0])


SIGNS = 2 * TRUTH - 1


@pytest.mark.parametrize(
    ("advised", "right", "refused"),
    [
        # logistic given 0 and 1: label_format: binary
        (lambda: value("logistic", SCORES, TRUTH, label_format="binary"), lambda: cross_entropy(TRUTH),
         lambda: value("logistic", SCORES, TRUTH)),
        # logistic, binary, given -1 and 1: label_format: signed
        (lambda: value("logistic", SCORES, SIGNS, label_format="signed"), lambda: cross_entropy(TRUTH),
         lambda: value("logistic", SCORES, SIGNS, label_format="binary")),
        # binary cross-entropy given -1 and 1: logistic, or (y + 1) / 2
        (lambda: value("logistic", SCORES, SIGNS), lambda: cross_entropy(TRUTH),
         lambda: value("sigmoid_binary_cross_entropy", SCORES, SIGNS)),
        (lambda: value("sigmoid_binary_cross_entropy", SCORES, (SIGNS + 1) / 2), lambda: cross_entropy(TRUTH),
         lambda: value("sigmoid_binary_cross_entropy", SCORES, SIGNS)),
        # hinge given 0 and 1: 2 * y - 1
        (lambda: value("hinge", SCORES, 2 * TRUTH - 1), lambda: hinge(SIGNS), lambda: value("hinge", SCORES, TRUTH)),
        (lambda: value("squared_hinge", SCORES, 2 * TRUTH - 1), lambda: hinge(SIGNS) ** 2,
         lambda: value("squared_hinge", SCORES, TRUTH)),
        # softmax given 0.05 and 0.95: binary cross-entropy with one output
        (lambda: value("sigmoid_binary_cross_entropy", SCORES, [0.95, 0.05, 0.95]),
         lambda: cross_entropy(np.array([0.95, 0.05, 0.95])),
         lambda: value("softmax_cross_entropy", CLASS_SCORES, [0.95, 0.05, 0.95])),
        # softmax given probabilities: sparse_label: false
        (lambda: value("softmax_cross_entropy", CLASS_SCORES, SHARES, sparse_label=False),
         lambda: softmax_cross_entropy(SHARES), None),
        # dense softmax, or kl_div, given class indices: sparse_label: true
        (lambda: value("softmax_cross_entropy", CLASS_SCORES, INDEX, sparse_label=True),
         lambda: softmax_cross_entropy(np.eye(3)[INDEX]), None),
        # softmax given -1 and 1: (y + 1) / 2; MXNet takes -1 for 0, which is right by chance
        (lambda: value("softmax_cross_entropy", CLASS_SCORES, (SIGNS + 1) / 2),
         lambda: softmax_cross_entropy(np.eye(3)[TRUTH.astype(int)]), None),
    ],
)  # fmt: skip
def test_the_advice_gives_the_right_number(advised: Any, right: Any, refused: Any) -> None:
    np.testing.assert_allclose(advised(), right(), rtol=1e-5, atol=1e-6)
    if refused is not None:
        assert not np.allclose(refused(), right(), rtol=1e-3), "what is refused would be right"


def test_a_worker_refuses_one_hot_labels_of_a_sparse_loss() -> None:
    content = Content(True, True, (1.0, 1.0))
    spool = Spool(4, (SpooledArray("y", "float32", (3,), 0.0, 1.0, content),), (), "/x")
    training: Any = SimpleNamespace(loss=Component("softmax_cross_entropy"), network=SimpleNamespace(label="net"))
    labels: Any = [SimpleNamespace(name="y")]
    with pytest.raises(DataError, match=r"label 'y' has 3 values in a row.*set its sparse_label: false"):
        network.check_labels(training, (4, 3), labels, SimpleNamespace(spool=spool))  # type: ignore[arg-type]


def test_whole_numbers_declared_as_int32_reach_an_embedding_as_they_are() -> None:
    ids = np.array([2**24, 2**24 + 1])
    weight = mx.nd.zeros((2**24 + 2, 1))
    weight[2**24 + 1] = 1.0
    rows = {"input_dim": 2**24 + 2, "output_dim": 1}
    declared = mx.nd.Embedding(mx.nd.array(ids, dtype="int32"), weight, **rows)
    rounded = mx.nd.Embedding(mx.nd.array(ids, dtype="float32"), weight, **rows)
    assert declared.asnumpy().ravel().tolist() == [0.0, 1.0]
    assert rounded.asnumpy().ravel().tolist() == [0.0, 0.0], "the default float32 makes one id of two"


def test_a_metric_of_ones_own_counts_signed_labels() -> None:
    def on_the_right_side(labels: Any, outputs: Any) -> Any:
        return (outputs.reshape(-1) > 0) == (labels > 0)

    def counted(component: Component) -> float:
        metrics = Metrics([component])
        metrics.add(np.zeros(3, np.float32), [SCORES], [SIGNS])
        found = metrics.finish(metrics.sums())
        return next(number for name, number in found.items() if name != "loss")

    assert counted(Component("mine", function=Function.ship(on_the_right_side))) == pytest.approx(1.0)
    assert counted(Component("binary_accuracy")) == pytest.approx(1.0)
