"""Ids that are not in a table are refused by name before the first step, wherever in a network they are looked up."""

from __future__ import annotations

from dataclasses import replace

import mxnet as mx
import numpy as np
import pytest
from alone import Alone
from mxnet import gluon
from mxnet.gluon import nn
from role_harness import run_group, split
from spools import write_arrays

from mxspark.config import resolve
from mxspark.config.job_config import JobConfig
from mxspark.errors import DataError
from mxspark.mx.loop.gluon import GluonTrainable
from mxspark.protocol import events

ROWS = 60


def looks_up(body, layers=None, inputs=1):
    """Return a function that makes a network of one output from `body(F, layers, *inputs)`."""

    def network():
        class Net(gluon.HybridBlock):
            def __init__(self):
                super().__init__()
                for name, layer in (layers() if layers is not None else {}).items():
                    setattr(self, name, layer)
                self.head = nn.Dense(1)

            def hybrid_forward(self, F, *given):
                return self.head(body(F, self, *given[:inputs]))

        return Net()

    return network


def table(rows):
    return lambda: {"table": nn.Embedding(rows, 3)}


def spec_of(
    folder,
    network,
    columns,
    *,
    dtypes=None,
    scales=None,
    loss="l2",
    label=None,
    counts=(ROWS,),
    validation=None,
    batch=16,
):
    """Describe a job over the given features, each an array; `validation` has rows of their own."""
    dtypes = dtypes or {}
    label = np.zeros(ROWS, np.float32) if label is None else label
    arrays = {name: array.astype(dtypes.get(name, "float32")) for name, array in columns.items()} | {"y": label}
    spool = write_arrays(folder / "spool", split(arrays, counts))
    others = None
    if validation is not None:
        rows = {name: array.astype(dtypes.get(name, "float32")) for name, array in validation.items()}
        count = len(next(iter(rows.values())))
        others = write_arrays(folder / "validation", [{**rows, "y": np.zeros(count, label.dtype)}])
    features = {name: {"shape": list(a.shape[1:]), "dtype": a.dtype.name} for name, a in arrays.items() if name != "y"}
    declared = {"y": {"dtype": label.dtype.name, "shape": list(label.shape[1:])}}
    for name, scale in (scales or {}).items():
        (declared if name == "y" else features)[name]["scale"] = scale
    job = JobConfig.from_dict(
        {
            "data": {"features": features, "label": declared},
            "training": {"network": network, "loss": loss, "batch_size": batch},
        }
    )
    (folder / "staging").mkdir(parents=True)
    return resolve.worker_spec(
        job,
        run_id="run",
        columns=(job.features(), job.labels()),
        data=resolve.data_sets(job, spool, others),
        restore=None,
        staging=str(folder / "staging"),
    )


def refused(folder, network, columns, **others):
    """Return why the job is refused; "" where it is not."""
    try:
        GluonTrainable(spec_of(folder, network, columns, **others), Alone())
    except DataError as error:
        return str(error)
    return ""


def ids(last, first=0):
    return np.linspace(first, last, ROWS).round()


EMBEDDED = looks_up(lambda F, net, x: net.table(x), table(10))


def test_an_id_beyond_an_embedding_is_refused_with_the_range_the_table_and_what_to_do(tmp_path):
    message = refused(tmp_path, EMBEDDED, {"movie": ids(49)})
    assert message.startswith("ids from 'movie' are from 0 to 49, but Embedding ")
    assert " of the network test_ids:looks_up.<locals>.network takes 0 to 9, and MXNet would take others" in message
    assert message.endswith(": mend the ids, or give it input_dim=50")


def test_ids_that_are_scaled_are_refused_by_the_key_of_the_scale(tmp_path):
    """Though all of them are in the table: what was to be number 3 is number 6."""
    for dtype in ("int32", "float32"):
        both = looks_up(lambda F, net, x, size: F.concat(net.table(x), size.expand_dims(1), dim=1), table(10), inputs=2)
        columns, dtypes = {"movie": ids(8), "size": ids(8)}, {"movie": dtype}
        message = refused(tmp_path / dtype, both, columns, dtypes=dtypes, scales={"movie": 2})
        assert message.startswith("data.features.movie.scale is 2, but Embedding ")
        assert message.endswith("looks up 'movie' as it is, and a scale makes other ids of them: remove it, and "
                                "scale in the network what is no id")  # fmt: skip
        assert not refused(tmp_path / f"{dtype} size", both, columns, dtypes=dtypes, scales={"size": 0.5})
    message = refused(
        tmp_path / "label", three_classes, {"x": ids(9)}, loss=of_class, label=ids(2).astype("int32"), scales={"y": 2}
    )
    assert message.startswith("data.label.y.scale is 2, but pick ")


def test_what_is_computed_of_a_scaled_column_may_be_looked_up(tmp_path):
    """A measurement is scaled, and parted into ten bins; a length is a share of the longest."""
    binned = looks_up(lambda F, net, x: net.table(F.floor(x * 9)), table(10))
    assert not refused(tmp_path / "bins", binned, {"x": np.linspace(0, 1, ROWS)}, scales={"x": 1 / 255})
    masked = looks_up(lambda F, net, x, n: F.SequenceMask(x, n, use_sequence_length=True, axis=1).sum(axis=1), inputs=2)
    words = np.zeros((ROWS, 4, 3), np.float32)
    assert not refused(tmp_path / "lengths", masked, {"x": words, "n": ids(4)}, scales={"n": 4})


def test_ids_that_hold_the_place_of_their_row_in_the_batch(tmp_path):
    """As a masked language model picks the words to guess from all words of a batch."""

    def picked(F, net, x, place):
        return F.take(x.reshape((-3, 0)), F.contrib.arange_like(place, axis=0) * 4 + place)

    network, words = looks_up(picked, inputs=2), np.zeros((ROWS, 4, 3), np.float32)
    assert refused(tmp_path / "right", network, {"x": words, "place": ids(3)}) == ""
    assert "ids from 'place' are from " in refused(tmp_path / "wrong", network, {"x": words, "place": ids(70)})


def test_what_is_refused_would_be_wrong():
    """MXNet takes the nearest row, cuts fractions, and one_hot leaves the row empty."""
    weight = mx.nd.array([[1.0], [2.0], [3.0]])
    rows = {"input_dim": 3, "output_dim": 1}
    assert mx.nd.Embedding(mx.nd.array([-1, 0, 3, 1.9]), weight, **rows).asnumpy().ravel().tolist() == [1, 1, 3, 2]
    assert mx.nd.take(weight, mx.nd.array([-1, 7])).asnumpy().ravel().tolist() == [1, 3]
    assert mx.nd.pick(weight.T, mx.nd.array([9])).asnumpy().tolist() == [3]
    assert mx.nd.batch_take(weight.T, mx.nd.array([9], dtype="int32")).asnumpy().tolist() == [3]
    assert mx.nd.gather_nd(weight, mx.nd.array([[-1, 1.9]])).asnumpy().ravel().tolist() == [3, 2]
    assert mx.nd.one_hot(mx.nd.array([-1, 3]), 3).asnumpy().sum() == 0


@pytest.mark.parametrize("dtype", ["float32", "int32", "int64"])
@pytest.mark.parametrize(("first", "last", "is_refused"), [(0, 9, False), (0, 10, True), (-1, 9, True)])
def test_the_edges_of_a_table(tmp_path, dtype, first, last, is_refused):
    message = refused(tmp_path, EMBEDDED, {"x": ids(last, first)}, dtypes={"x": dtype})
    assert bool(message) == is_refused, message
    assert not is_refused or f"are from {first} to {last}" in message
    assert ("input_dim" in message) == (last > 9), "no table has room for a negative id"


def test_fractions_are_refused_also_where_a_cast_would_cut_them(tmp_path):
    halves = {"x": np.linspace(0, 9, ROWS)}
    assert "are from 0 to 9, not all of them whole" in refused(tmp_path / "plain", EMBEDDED, halves)
    cast = looks_up(lambda F, net, x: net.table(F.cast(F.expand_dims(x, 1), "int32")), table(10))
    assert "not all of them whole" in refused(tmp_path / "cast", cast, halves)
    floor = looks_up(lambda F, net, x: net.table(F.floor(x)), table(10))
    assert not refused(tmp_path / "floor", floor, halves)


def test_a_cast_is_seen_behind_whatever_follows_it(tmp_path):
    halves, many = {"x": np.linspace(0, 9, ROWS)}, {"x": ids(3000)}
    for kind in ("int32", "int64", "float64"):
        beside = looks_up(
            lambda F, net, x, y: F.flatten(net.table(F.stack(F.cast(x, "float32"), y, axis=1))), table(10), inputs=2
        )
        dtypes = {"x": kind}
        assert not refused(tmp_path / kind, beside, {"x": ids(9), "z": ids(9)}, dtypes=dtypes)
        assert "from 0 to 10" in refused(tmp_path / f"{kind} 10", beside, {"x": ids(10), "z": ids(9)}, dtypes=dtypes)
    added = looks_up(lambda F, net, x: net.table(F.cast(x, "int32") + 1), table(20))
    message = refused(tmp_path / "added", added, halves)
    assert "are from 1 to 10, not all of them whole, but " in message
    assert message.endswith(": mend the ids, or take F.floor(ids) where that is meant")
    narrow = looks_up(lambda F, net, x: net.table(F.cast(F.cast(x, "float16"), "int32")), table(3001))
    message = refused(tmp_path / "narrow", narrow, many)
    assert "are from 0 to 3,000, others than before a cast, but " in message
    assert message.endswith("or cast to int32, or to int64, in place of a type that does not hold them")
    wide = looks_up(lambda F, net, x: net.table(F.cast(x, "int32")), table(3001))
    assert not refused(tmp_path / "wide", wide, many)


TWO = np.stack([ids(9), ids(99)], 1)


def two_tables(one, other):
    def body(F, net, x):
        first, second = F.slice_axis(x, axis=1, begin=0, end=1), F.slice_axis(x, axis=1, begin=1, end=2)
        return F.concat(F.flatten(net.one(first)), F.flatten(net.other(second)), dim=1)

    return looks_up(body, lambda: {"one": nn.Embedding(one, 2), "other": nn.Embedding(other, 2)})


@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_a_column_of_an_array_is_held_against_its_own_table(tmp_path, dtype):
    dtypes = {"x": dtype}
    assert not refused(tmp_path / "right", two_tables(10, 100), {"x": TWO}, dtypes=dtypes)
    message = refused(tmp_path / "first", two_tables(9, 100), {"x": TWO}, dtypes=dtypes)
    assert "from 0 to 9" in message and "takes 0 to 8" in message
    message = refused(tmp_path / "second", two_tables(10, 50), {"x": TWO}, dtypes=dtypes)
    assert "from 0 to 99" in message and "takes 0 to 49" in message


def test_one_table_that_is_used_twice_is_held_against_both(tmp_path):
    shared = looks_up(lambda F, net, a, b: F.concat(net.table(a), net.table(b), dim=1), table(10), inputs=2)
    assert not refused(tmp_path / "right", shared, {"a": ids(9), "b": ids(9)})
    assert "ids from 'b' are from 0 to 12" in refused(tmp_path / "wrong", shared, {"a": ids(9), "b": ids(12)})


def scores(F, net, x):
    """Return ten numbers a row that are learned."""
    return net.scores(F.ones_like(F.expand_dims(x, 1)))


@pytest.mark.parametrize(
    ("body", "operator"),
    [
        (lambda F, net, x: F.one_hot(x, 10), "one_hot"),
        (lambda F, net, x: F.one_hot(F.reshape(F.transpose(F.reshape(x, (-1, 1))), (-1,)), depth=10), "one_hot"),
        (lambda F, net, x: F.take(F.reshape(F.arange(10), (10, 1)), x), "take"),
        (lambda F, net, x: F.transpose(F.take(F.reshape(F.arange(10), (1, 10)), x, axis=1)), "take"),
        (lambda F, net, x: F.gather_nd(F.reshape(F.arange(10), (10, 1)), F.expand_dims(x, 0)), "gather_nd"),
        (lambda F, net, x: F.pick(scores(F, net, x), x, keepdims=True), "pick"),
        (lambda F, net, x: F.expand_dims(F.batch_take(scores(F, net, x), F.cast(x, "int32")), 1), "batch_take"),
    ],
    ids=["one_hot", "reshaped", "take", "other axis", "gather_nd", "pick", "batch_take"],
)
def test_every_operator_that_looks_up(tmp_path, body, operator):
    network = looks_up(body, lambda: {"scores": nn.Dense(10)})
    assert not refused(tmp_path / "right", network, {"x": ids(9)})
    for last, first in ((10, 0), (9, -1)):
        message = refused(tmp_path / f"{first}", network, {"x": ids(last, first)})
        assert f"ids from 'x' are from {first} to {last}, but {operator} " in message and "takes 0 to 9" in message


def test_what_is_meant_is_kept(tmp_path):
    for name, body in {
        "wrap": lambda F, net, x: F.take(F.reshape(F.arange(10), (10, 1)), x, mode="wrap"),
        "clip": lambda F, net, x: net.table(F.clip(x, 0, 9)),
        "shift": lambda F, net, x: net.table((x + 1) % 10),
        "learned": lambda F, net, x: net.table(F.argmax(net.scores(F.expand_dims(x, 1)), axis=1)),
        "dropped": lambda F, net, x: net.table(F.clip(F.Dropout(x, 0.5), 0, 9)),
    }.items():
        network = looks_up(body, lambda: {"table": nn.Embedding(10, 3), "scores": nn.Dense(30)})
        assert not refused(tmp_path / name, network, {"x": ids(49, -1)}), name


def test_ids_that_are_computed_from_a_column_are_those_computed(tmp_path):
    from_one = looks_up(lambda F, net, x: net.table(x - 1), table(10))
    assert not refused(tmp_path / "right", from_one, {"x": ids(10, 1)})
    message = refused(tmp_path / "zero", from_one, {"x": ids(10, 0)})
    assert "ids from 'x' are from -1 to 9" in message


class Offsets(gluon.HybridBlock):
    """One table for the ids of two fields, each with a place of its own in it: usual for clicks."""

    def __init__(self, rows):
        super().__init__()
        with self.name_scope():
            self.offsets = self.params.get_constant("offsets", mx.nd.array([[0, 10]]))
            self.table = nn.Embedding(rows, 2)
            self.head = nn.Dense(1)

    def hybrid_forward(self, F, x, offsets):
        return self.head(self.table(F.broadcast_add(x, offsets)))


def test_constants_of_the_network_are_added(tmp_path):
    assert not refused(tmp_path / "right", lambda: Offsets(110), {"x": TWO})
    assert "from 0 to 109" in refused(tmp_path / "wrong", lambda: Offsets(109), {"x": TWO})


def last_of(operator, axis=1):
    def body(F, net, x, lengths):
        return F.flatten(getattr(F, operator)(x, lengths, use_sequence_length=True, axis=axis))

    return looks_up(body, inputs=2)


# the steps of SequenceReverse are always the first axis
REVERSED = looks_up(
    lambda F, net, x, lengths: F.flatten(
        F.swapaxes(F.SequenceReverse(F.swapaxes(x, 0, 1), lengths, use_sequence_length=True), 0, 1)
    ),
    inputs=2,
)
ATTENDING = looks_up(
    lambda F, net, x, lengths: F.softmax(F.sum(x, axis=2), F.cast(lengths, "int32"), axis=1, use_length=True), inputs=2
)


def test_lengths_of_sequences(tmp_path):
    words = np.ones((ROWS, 5, 2), np.float32)
    for operator, network, first, last, is_refused in (
        ("SequenceLast", last_of("SequenceLast"), 1, 5, False),
        ("SequenceLast", last_of("SequenceLast"), 0, 5, True),
        ("SequenceLast", last_of("SequenceLast"), 1, 6, True),
        ("SequenceMask", last_of("SequenceMask"), 0, 8, False),
        ("SequenceMask", last_of("SequenceMask"), -1, 5, True),
        ("SequenceReverse", REVERSED, 0, 5, False),
        ("SequenceReverse", REVERSED, 0, 6, True),
        ("SequenceReverse", REVERSED, -1, 5, True),
        ("softmax", ATTENDING, 0, 5, False),
        ("softmax", ATTENDING, 0, 6, True),
    ):
        columns = {"words": words, "length": ids(last, first)}
        message = refused(tmp_path / f"{operator}{first}{last}", network, columns)
        assert bool(message) == is_refused, (operator, first, last, message)
        assert not is_refused or f"lengths from 'length' are from {first} to {last}, but {operator} " in message


@pytest.mark.parametrize(
    ("operator", "length", "reaches"),
    [
        ("SequenceLast", 1, ""),
        ("SequenceLast", 3, ""),
        ("SequenceLast", 0, "reads"),
        ("SequenceLast", 4, "reads"),
        ("SequenceReverse", 0, ""),
        ("SequenceReverse", 3, ""),
        ("SequenceReverse", 4, "writes"),
        ("SequenceReverse", -1, "reads, writes"),
        ("SequenceMask", 0, ""),
        ("SequenceMask", 4, ""),
        ("SequenceMask", -1, "writes"),
    ],
)
def test_lengths_that_are_refused_reach_into_memory_of_others(operator, length, reaches):
    """Three steps of two rows, in the middle of larger arrays whose rest tells."""
    source, target = mx.nd.full((9, 2), 7.0), mx.nd.full((9, 2), 8.0)
    source[3:6] = 1.0
    out = target[3] if operator == "SequenceLast" else target[3:6]
    getattr(mx.nd, operator)(source[3:6], mx.nd.array([length, 2]), use_sequence_length=True, out=out)
    made = target.asnumpy()
    around = np.concatenate([made[:3], made[4 if operator == "SequenceLast" else 6 :]])
    assert {"reads": (made == 7).any(), "writes": (around != 8).any()} == {
        each: each in reaches for each in ("reads", "writes")
    }


def test_the_way_back_through_the_last_of_a_sequence_writes_where_it_has_read():
    steps, gradients = mx.nd.ones((9, 2)), mx.nd.zeros((9, 2))
    inner = steps[3:6]
    mx.autograd.mark_variables([inner], [gradients[3:6]])
    with mx.autograd.record():
        last = mx.nd.SequenceLast(inner, mx.nd.array([4, 2]), use_sequence_length=True)
    last.backward()
    assert np.argwhere(gradients.asnumpy()).tolist() == [[4, 1], [6, 0]]


def test_a_softmax_over_more_than_there_is_adds_up_to_something_else():
    source, target = mx.nd.ones((4, 3)), mx.nd.full((4, 3), 8.0)
    mx.nd.softmax(source[:2], mx.nd.array([3, 4], dtype="int32"), axis=1, use_length=True, out=target[:2])
    assert target.sum(axis=1).asnumpy() == pytest.approx([1, 0.75, 16.25, 24])


def test_validation_rows_are_looked_at_too(tmp_path):
    message = refused(tmp_path, EMBEDDED, {"x": ids(9)}, validation={"x": np.array([3.0, 10.0])})
    assert "ids from 'x' are from 3 to 10" in message


def three_classes():
    net = nn.HybridSequential()
    net.add(nn.Dense(3))
    return net


def of_class(output, label):
    return -mx.nd.pick(mx.nd.log_softmax(output), label)


def of_class_as_int(output, label):
    return -output.log_softmax().pick(label.astype("int32"))


def of_coarse_class(output, label):
    return -output.log_softmax().pick((label / 5).astype("int32"))


def wrapped(output, label):
    return gluon.loss.SoftmaxCrossEntropyLoss()(output, label)


def masked(output, label):
    return -mx.nd.pick(mx.nd.log_softmax(output), label) * (label >= 0)


def masked_as_advised(output, label):
    return -mx.nd.pick(mx.nd.log_softmax(output), mx.nd.maximum(label, 0)) * (label >= 0)


class Masked(gluon.HybridBlock):
    def hybrid_forward(self, F, output, label):
        return -F.pick(F.log_softmax(output), label) * (label >= 0)


class MaskedAsAdvised(gluon.HybridBlock):
    def hybrid_forward(self, F, output, label):
        return -F.pick(F.log_softmax(output), F.maximum(label, 0)) * (label >= 0)


def test_labels_of_a_loss_of_ones_own_are_held_against_its_scores(tmp_path):
    def picks():
        return gluon.loss.SoftmaxCrossEntropyLoss()

    for name, loss in (("block", picks), ("function", of_class), ("cast", of_class_as_int), ("wrapped", wrapped)):
        right, wrong = ids(2).astype("int32"), ids(3).astype("int32")
        assert not refused(tmp_path / name / "right", three_classes, {"x": ids(9)}, loss=loss, label=right)
        message = refused(tmp_path / name / "wrong", three_classes, {"x": ids(9)}, loss=loss, label=wrong)
        if name == "block":  # one of MXNet's: held against the network as the loss of its name is
            assert "label 'y' has values from 0 to 3, but the network" in message
            continue
        assert "ids from 'y' are from 0 to 3, but pick " in message and " of the loss " in message, name
    halves = np.linspace(0, 2, ROWS, dtype=np.float32)
    message = refused(tmp_path / "halves", three_classes, {"x": ids(9)}, loss=of_class_as_int, label=halves)
    assert "ids from 'y' are from 0 to 2, not all of them whole" in message
    assert not refused(
        tmp_path / "coarse", three_classes, {"x": ids(9)}, loss=of_coarse_class, label=ids(14).astype("float32")
    )


def test_a_label_below_zero_for_none_is_looked_up_as_the_message_says(tmp_path):
    label = ids(2, -1).astype("float32")
    for name, loss, advised in (("function", masked, masked_as_advised), ("block", Masked, MaskedAsAdvised)):
        message = refused(tmp_path / name, three_classes, {"x": ids(9)}, loss=loss, label=label)
        assert message.endswith(
            "mend the ids, or where those below 0 stand for none, take F.maximum(ids, 0) and multiply what comes of "
            "it by ids >= 0"
        )
        assert not refused(tmp_path / f"{name} as advised", three_classes, {"x": ids(9)}, loss=advised, label=label)
        message = refused(
            tmp_path / f"{name} 3", three_classes, {"x": ids(9)}, loss=advised, label=ids(3, -1).astype("float32")
        )
        assert "are from 0 to 3" in message, "those above are looked at as before"
    scores = mx.nd.array([[0.1, 0.2, 0.3]] * 3)
    labels = mx.nd.array([-1, 0, 2])
    expected = -mx.nd.log_softmax(scores).asnumpy()[[0, 1, 2], [0, 0, 2]] * [0, 1, 1]
    assert masked_as_advised(scores, labels).asnumpy() == pytest.approx(expected)


def test_what_a_loss_cannot_be_traced_for_is_left_to_the_first_step(tmp_path):
    """It asks for values, or makes its table itself: no word of it, and no error of MXNet's."""

    def of_values(output, label):
        return output[:, 0] * (1.0 / label.asnumpy().min())

    def of_a_table(output, label):
        return mx.nd.take(mx.nd.array([1.0, 2.0]), label) * output[:, 0]

    def of_types(output, label):
        return mx.nd.pick(output, label.astype("float32") - output[:, 0] * 0)

    for loss in (of_values, of_a_table, of_types):
        assert not refused(
            tmp_path / loss.__name__, three_classes, {"x": ids(9)}, loss=loss, label=ids(5).astype("int32")
        )


def test_an_id_in_the_rows_of_one_worker_ends_both_and_is_told_of_all_rows(tmp_path):
    rows = ids(9)
    rows[-1] = 30
    spec = spec_of(tmp_path, "role_jobs:embedded", {"x": rows}, counts=(40, 0, 20))
    outcome = run_group(replace(spec, beat_s=0.0), 2, hosts=1, servers=0)
    (raised,) = [event for rank in range(2) for event in outcome.of(events.Raised, rank)]
    assert (raised.who, sorted(outcome.returncodes)[-1]) == ("input", 2)
    assert "ids from 'x' are from 0 to 30" in raised.message
    assert not outcome.of(events.Started)
    # of its share, and then of all rows; who is looking is not late
    assert {event.total for event in outcome.of(events.Preparing, raised_by(outcome))} == {30, 60}


def raised_by(outcome):
    return next(rank for rank in range(2) if outcome.of(events.Raised, rank))


def test_extremes_tell_of_a_column_whose_numbers_are_known_to_be_whole(tmp_path, monkeypatch):
    from mxspark.mx.model import ids as module

    monkeypatch.setattr(module, "SpooledRows", None)  # no row is looked at
    spec = spec_of(tmp_path / "right", EMBEDDED, {"x": ids(9)})
    spool = spec.training_data.spool
    whole = replace(spool, arrays=tuple(replace(array, is_whole=True) for array in spool.arrays))
    GluonTrainable(replace(spec, training_data=replace(spec.training_data, spool=whole)), Alone())
    assert not refused(tmp_path / "int", EMBEDDED, {"x": ids(9)}, dtypes={"x": "int32"})
    with pytest.raises(TypeError):
        GluonTrainable(spec, Alone())


def test_rows_are_looked_at_in_chunks_whatever_their_number(tmp_path, monkeypatch):
    from mxspark.mx.model import ids as module

    monkeypatch.setattr(module, "_CHUNK_BYTES", 1)  # a batch at a time, the last of which goes round
    assert not refused(tmp_path / "right", EMBEDDED, {"x": ids(9)}, batch=7)
    rows = ids(9)
    rows[-1] = 11
    assert "from 0 to 11" in refused(tmp_path / "wrong", EMBEDDED, {"x": rows}, batch=7)
    said = []
    spec = spec_of(tmp_path / "said", EMBEDDED, {"x": ids(9)}, batch=25)
    GluonTrainable(spec, Alone(), lambda done, total: said.append((done, total)))
    assert said == [(25, ROWS), (50, ROWS), (ROWS, ROWS)]
