"""Losses of the user's: one value a row, made of that row, of labels that come by their names."""

from __future__ import annotations

import re

import mxnet as mx
import numpy as np
import pytest
from alone import Alone
from mxnet import gluon
from mxnet.gluon import nn
from role_harness import make_spec

from mxspark.errors import DataError, InputError, TrainingCodeError
from mxspark.job.spec import Component, Function, Restore
from mxspark.mx.loop.gluon import GluonTrainable
from mxspark.mx.loop.rowwise import RowwiseLoss
from mxspark.mx.model.label_order import ordered, parameters

ROWS = 40


def rows(labels=None):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(ROWS, 2)).astype(np.float32)
    return {"pixels": x, "digit": (x[:, 0] if labels is None else labels).astype(np.float32)}


def trained(folder, loss, arrays=None, network="linear", **changes):
    return train(folder, loss, arrays, network, **changes).digest()


def train(folder, loss, arrays=None, network="linear", steps=(0, 99), restore=None, **changes):
    """Return what has trained the steps of one epoch from the first on to the last, or goes on from a checkpoint."""
    component = loss if isinstance(loss, Component) else Component("mine", function=Function.ship(loss))
    settings = {"counts": (ROWS,), "batch_size": 16, "epochs": 1, "metrics": (), "loss": component, **changes}
    built = GluonTrainable(make_spec(folder, arrays=arrays or rows(), network=network, **settings), Alone())
    built.broadcast()
    if restore is not None:
        built.restore(restore)
    for _, batch in zip(range(*steps), built.batches(range(1), steps[0])):
        built.step(batch)
    built.settle()
    return built


def squares(output, label):
    return (output - label) ** 2


def mean_of_squares(output, label):
    return ((output - label) ** 2).mean(axis=1)


def other_mean_of_squares(output, label):
    return ((output - label) ** 2).mean(axis=0)


def right(output, label):
    return ((output - label.reshape(output.shape)) ** 2).mean(axis=1)


def also_right(output, label):
    return (output[:, 0] - label) ** 2


BROADCAST = r"an output of shape \(16, 1\) and a label of shape \(16,\) broadcast to \(16, 16\), which pairs every row "
ADVICE = r"with every other; write label.reshape\(output.shape\) in the loss, before anything else is done"


def test_a_loss_of_every_row_with_every_other_is_a_broadcast_and_called_so(tmp_path):
    with pytest.raises(TrainingCodeError, match=r"the loss gave shape \(16, 16\) for 16 rows: " + BROADCAST + ADVICE):
        trained(tmp_path, squares)


@pytest.mark.parametrize("loss", [mean_of_squares, other_mean_of_squares])
def test_a_mean_over_a_broadcast_has_the_right_shape_and_is_found_out(tmp_path, loss):
    with pytest.raises(TrainingCodeError, match="the loss of a row depends on other rows: " + BROADCAST + ADVICE):
        trained(tmp_path, loss)


def test_labels_that_are_equal_at_first_hide_nothing_for_long(tmp_path):
    labels = np.ones(ROWS)
    labels[-1] = 2
    with pytest.raises(TrainingCodeError, match="the loss of a row depends on other rows"):
        trained(tmp_path, mean_of_squares, rows(labels))


def test_what_the_message_advises_trains_what_is_meant(tmp_path):
    losses = (right, also_right, lambda output, label: 2 * gluon.loss.L2Loss()(output, label))
    digests = {trained(tmp_path / str(number), loss) for number, loss in enumerate(losses)}
    assert len(digests) == 1


def of_the_output_alone(output, label):
    return (output**2).mean(axis=1) + 0 * label


def of_little_weight(output, label):
    return (output**2).mean(axis=1) + 1e-4 * label**2


@pytest.mark.parametrize(("loss", "is_said"), [(of_the_output_alone, True), (of_little_weight, False), (right, False)])
def test_a_label_that_a_loss_does_not_depend_on_is_named(tmp_path, loss, is_said):
    notes = train(tmp_path, loss).notes()
    assert bool([note for note in notes if "the loss does not depend on the label 'digit'" in note]) == is_said, notes


HINGE = gluon.loss.HingeLoss()


@pytest.mark.parametrize(
    ("loss", "labels", "network", "says"),
    [
        (HINGE, [0, 1], "linear", "label 'digit' has values from 0 to 1, but training.loss hinge takes -1 and 1"),
        (HINGE, [-1, 1], "linear", ""),
        (lambda: gluon.loss.LogisticLoss(label_format="binary"), [0, 1], "linear", ""),
        (gluon.loss.LogisticLoss(), [0, 1], "linear", "set label_format: binary beside its name"),
        (gluon.loss.SigmoidBCELoss(), [-1, 1], "linear", "sigmoid_binary_cross_entropy takes 0 and 1, or prob"),
        (gluon.loss.SigmoidBCELoss(from_sigmoid=True), [0, 1], "linear", "which gives scores: set from_sigmoid: false"),
        (gluon.loss.SoftmaxCELoss(from_logits=True), [0, 1], "mlp", "which gives scores: set from_logits: false"),
        (gluon.loss.SoftmaxCELoss(), [0, 1], "mlp", ""),
        (gluon.loss.L2Loss(weight=2.0), [-3, 5], "linear", ""),
    ],
)
def test_an_object_of_mxnet_is_held_against_labels_and_network_as_its_name_is(tmp_path, loss, labels, network, says):
    arrays = rows(np.resize(labels, ROWS))
    if not says:
        trained(tmp_path, loss, arrays, network)
        return
    with pytest.raises((DataError, InputError), match=re.escape(says)):
        trained(tmp_path, loss, arrays, network)


def cox(output, label):
    """Each event against all that last at least as long: the partial likelihood of Cox."""
    risk = mx.nd.exp(output)
    at_risk = mx.nd.broadcast_greater_equal(label.reshape((1, -1)), label.reshape((-1, 1)))
    return mx.nd.log((at_risk * risk.reshape((1, -1))).sum(axis=1)) - mx.nd.log(risk).reshape((-1,))


def contrastive(output, label):
    """Rows of one label are to be alike, of another not; no shape broadcasts."""
    alike = mx.nd.softmax(mx.nd.dot(output, output, transpose_b=True))
    return -mx.nd.log((alike * mx.nd.broadcast_equal(label.reshape((-1, 1)), label.reshape((1, -1)))).sum(axis=1))


def over_its_mean(output, label):
    each = (output[:, 0] - label) ** 2
    return each / each.mean()


def over_its_mean_by_shapes(output, label):
    """Every row with every other, or each with its own, as the shapes are."""
    each = (output - label) ** 2
    return each.reshape((len(label), -1)).mean(axis=1) / each.mean()


def over_its_mean_as_advised(output, label):
    return over_its_mean_by_shapes(output.reshape(label.shape), label)


OF_OTHERS = (
    "the loss of a row depends on other rows of its batch: it is made of the 16 that a worker has, those that only pad "
    "them included, and is another one with another number of workers or another training.batch_size"
)


@pytest.mark.parametrize(
    ("loss", "network"),
    [(cox, "linear"), (over_its_mean, "linear"), (over_its_mean_as_advised, "linear"), (contrastive, "mlp")],
)
def test_a_loss_of_other_rows_on_purpose_trains_and_says_what_it_depends_on(tmp_path, loss, network):
    labels = np.arange(ROWS) % 3 if loss is contrastive else None
    assert OF_OTHERS in train(tmp_path, loss, rows(labels), network).notes()


def test_where_a_loss_of_other_rows_may_be_a_broadcast_the_message_names_both_ways(tmp_path):
    says = "label.reshape(output.shape) in the loss, before anything else is done with the label, or "
    with pytest.raises(TrainingCodeError, match=re.escape(says + "output.reshape(label.shape) where it is to depend")):
        trained(tmp_path, over_its_mean_by_shapes)


def with_dropout(output, label):
    return mx.nd.Dropout((output[:, 0] - label) ** 2, p=0.5)


def with_noise(output, label):
    return (output[:, 0] - label + mx.nd.random.normal(shape=label.shape)) ** 2


def with_noise_of_numpy(output, label):
    return (output[:, 0] - label + mx.nd.array(np.random.normal(size=label.shape))) ** 2


@pytest.mark.parametrize("loss", [with_dropout, with_noise, with_noise_of_numpy])
def test_a_random_loss_trains_and_draws_what_its_step_draws(tmp_path, loss):
    built = train(tmp_path / "whole", loss, batch_size=8)
    assert not [note for note in built.notes() if "other rows" in note]
    half = train(tmp_path / "half", loss, batch_size=8, steps=(0, 2))
    half.state({"step": 2, "epoch": 0}).write(str(tmp_path / "checkpoint"))
    restore = Restore(str(tmp_path / "checkpoint"), step=2, epoch=0, step_in_epoch=2)
    resumed = train(tmp_path / "rest", loss, batch_size=8, steps=(2, 99), restore=restore)
    assert resumed.digest() == built.digest() != train(tmp_path / "plain", also_right, batch_size=8).digest()


def test_a_loss_is_looked_at_until_rows_tell_and_then_no_more():
    calls, notes = [], []

    def counted(output, label):
        calls.append(len(label))
        return also_right(output, label)

    loss, label = RowwiseLoss(counted, ["digit"], notes.append), mx.nd.arange(4)
    for _ in range(2):
        loss(mx.nd.ones((4, 1)), label)
    assert len(calls) == 2 and loss.is_random, "the same output in all rows: nothing can be told"
    loss(mx.nd.arange(4).reshape((4, 1)), label)
    assert len(calls) == 9 and not loss.is_random and not notes
    loss(mx.nd.arange(4).reshape((4, 1)), label)
    assert len(calls) == 10


def test_a_loss_of_class_indices_may_meet_a_shape_that_broadcasts(tmp_path):
    """As many classes as rows: (10, 10) and (10,)."""
    arrays = {"pixels": rows()["pixels"], "digit": (np.arange(ROWS) % 10).astype(np.int32)}
    given = trained(tmp_path / "given", lambda: gluon.loss.SoftmaxCrossEntropyLoss(), arrays, "mlp", batch_size=10)
    assert given == trained(tmp_path / "named", Component("softmax_cross_entropy"), arrays, "mlp", batch_size=10)


class Swapped(gluon.HybridBlock):
    """Takes the label first."""

    def hybrid_forward(self, F, target, pred):
        return pred - target


@pytest.mark.parametrize(
    ("loss", "labels", "message"),
    [
        ("l2", np.zeros((ROWS, 2)), r"label 'digit' has shape \[2\] in a row, .* output is \[1\] in a row takes \[1\]"),
        ("hinge", np.ones((ROWS, 16)), r"label 'digit' has shape \[16\] in a row"),
    ],
)
def test_a_named_loss_refuses_other_sizes_before_the_first_step(tmp_path, loss, labels, message):
    with pytest.raises(DataError, match=message):
        trained(tmp_path, Component(loss), rows(labels))


def pair():
    class Pair(gluon.HybridBlock):
        def __init__(self):
            super().__init__()
            self.dense = gluon.nn.Dense(1)

        def hybrid_forward(self, F, x):
            return self.dense(x), x

    return Pair()


def test_a_named_loss_refuses_a_network_of_two_outputs(tmp_path):
    with pytest.raises(TrainingCodeError, match=r"the network has 2 outputs, .* but training.loss l2 takes one: give"):
        trained(tmp_path, Component("l2"), network=pair)


def test_labels_come_by_name_in_any_order():
    def loss(output, price, amount):
        return output, price, amount

    assert ordered(loss, ["amount", "price"])(0, "amount", "price") == (0, "price", "amount")
    assert ordered(loss, ["price", "amount"]) is loss
    assert ordered(loss, ["a", "b"]) is loss, "other names: in declared order"

    class Block(gluon.HybridBlock):
        def hybrid_forward(self, F, output, price, amount):
            return output + 2 * price + 3 * amount

    value = ordered(Block(), ["amount", "price"])(mx.nd.zeros(1), mx.nd.ones(1) * 10, mx.nd.ones(1))
    assert value.asscalar() == 32
    graph = ordered(Block(), ["amount", "price"])(*map(mx.sym.var, ("output", "amount", "price")))
    assert graph.list_arguments() == ["output", "price", "amount"], "who looks at the graph of a loss sees it"
    assert parameters(gluon.loss.L2Loss()) == ["pred", "label", "sample_weight"]
    assert parameters(lambda output, *labels: 0) == ["output"] and parameters(max) == []


@pytest.mark.parametrize(
    ("loss", "labels", "message"),
    [
        (lambda output, b, other: 0, ["a", "b"],
         "the loss takes (output, b, other), and the label 'b' would be given to 'other', as the job declares its "
         "labels in the order a, b: name all parameters after the output as the labels"),
        (lambda output, a, gamma, b: 0, ["a", "b"], "the label 'b' would be given to 'gamma'"),
        (lambda a, output: 0, ["a"],
         "the loss takes (a, output), and its first parameter gets the output, but is named as the label 'a': give the "
         "output the first place under a name of its own, (prediction, a)"),
        (lambda output, label: 0, ["output"], "is named as the label 'output': give the output the first place"),
        (gluon.loss.L2Loss(), ["pred"], "the loss takes (pred, label, sample_weight), and its first parameter gets"),
        (lambda y_true, y_pred: 0, ["y"], "the loss takes (y_true, y_pred), but a loss gets the output first"),
        (Swapped(), ["y"], "the loss takes (target, pred), but a loss gets the output first, then the"),
        (gluon.loss.L2Loss(), ["y", "w"], "the label 'w' would be given to the loss as its sample_weight, which MXNet "
                                          "broadcasts: name it as data.weight: w in place of a label"),
    ],
)  # fmt: skip
def test_labels_that_would_go_by_place_where_names_say_otherwise_are_refused(loss, labels, message):
    with pytest.raises(TrainingCodeError, match=re.escape(message)):
        ordered(loss, labels)


def test_a_label_that_is_called_output_is_taken_as_the_message_says():
    """Nobody can tell whether the first parameter of (output, target) is meant for the output or for that label."""

    def loss(prediction, output):
        return prediction - output

    assert ordered(loss, ["output"]) is loss


def test_labels_that_go_by_name_reach_a_whole_job_so(tmp_path):
    """The parameter comes before the label of its name; the harness has one label, so two are made of it here."""
    from dataclasses import replace

    arrays = rows()
    spec = make_spec(
        tmp_path, counts=(ROWS,), arrays=arrays, network="linear", metrics=(), epochs=1,
        loss=Component("mine", function=Function.ship(lambda output, pixels, digit: (output[:, 0] - digit) ** 2)),
    )  # fmt: skip
    named = GluonTrainable(replace(spec, labels=(*spec.labels, *spec.features)), Alone())
    plain = GluonTrainable(
        replace(spec, training=replace(spec.training, loss=Component("mine", function=Function.ship(also_right)))),
        Alone(),
    )
    digests = set()
    for one in (named, plain):
        one.broadcast()
        for batch in one.batches(range(1), 0):
            one.step(batch)
        one.settle()
        digests.add(one.digest())
    assert len(digests) == 1


def one_label_more(output, label, margin):
    return output[:, 0] - label - margin


class OutputAlone(gluon.HybridBlock):
    """A loss without a label."""

    def hybrid_forward(self, F, output):
        return output.sum(axis=1)


@pytest.mark.parametrize(("loss", "takes"), [(one_label_more, "output, label, margin"), (OutputAlone(), "output")])
def test_a_loss_of_more_or_fewer_labels_than_there_are(tmp_path, loss, takes):
    said = rf"the loss takes \({takes}\), and gets the output and 1 label: give it the parameters \(output, digit\)"
    with pytest.raises(TrainingCodeError, match=said):
        trained(tmp_path, loss)


class Uncertain(gluon.HybridBlock):
    """A loss with a parameter."""

    def __init__(self, grad_req="write"):
        super().__init__()
        with self.name_scope():
            self.s = self.params.get("s", shape=(1,), init="zeros", grad_req=grad_req)
        self.initialize()

    def hybrid_forward(self, F, output, label, s):
        square = (F.reshape(output, (-1,)) - label) ** 2
        return F.broadcast_add(F.broadcast_mul(square, F.exp(-s)), s)


class WithOutput(gluon.HybridBlock):
    """The network that returns the parameter of the loss, as the message advises."""

    def __init__(self):
        super().__init__()
        with self.name_scope():
            self.dense = nn.Dense(1)
            self.s = self.params.get("s", shape=(1, 1), init="zeros")

    def hybrid_forward(self, F, x, s):
        y = self.dense(x)
        return y, F.broadcast_add(F.zeros_like(y), s)


def of_outputs(outputs, label):
    output, s = (one.reshape((-1,)) for one in outputs)
    return (output - label) ** 2 * (-s).exp() + s


def test_a_loss_with_a_parameter_is_told_where_that_belongs(tmp_path):
    with pytest.raises(TrainingCodeError, match=r"the loss Uncertain has parameters of its own \(s\), and a loss"):
        trained(tmp_path / "refused", Uncertain())
    trained(tmp_path / "frozen", Uncertain("null"))
    done = train(tmp_path / "advised", of_outputs, network=WithOutput)
    assert done._network.parameters["s"].data().asscalar() != 0


def of_numpy(output, label):
    return ((output[:, 0] - label) ** 2).asnumpy()


def of_one_number(output, label):
    return float(((output[:, 0] - label) ** 2).mean().asscalar())


@pytest.mark.parametrize(("loss", "kind"), [(of_numpy, "numpy.ndarray"), (of_one_number, "float")])
def test_a_loss_through_which_no_gradient_flows_is_told_so(tmp_path, loss, kind):
    with pytest.raises(TrainingCodeError, match=f"the loss gave a {kind}, through which no gradient flows back"):
        trained(tmp_path, loss)
