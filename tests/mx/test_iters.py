"""Batches as NDArrays: MXNet's own iterator contract, and Gluon's."""

from __future__ import annotations

import time

import mxnet as mx
import numpy as np
import pytest
from role_harness import digits, make_bundle

from mxspark.data.reader import Reader
from mxspark.errors import InputError
from mxspark.mx.loop.batches import GluonBatches, SpoolIter, to_ndarray


@pytest.fixture
def bundle(tmp_path):
    return make_bundle(tmp_path, counts=(20, 0, 33), batch_size=10)


def reader_of(bundle, rank=0, size=1):
    return Reader(bundle.training_data, bundle.features, bundle.labels, rank, size)


def test_the_iterator_describes_and_delivers(bundle):
    iterator = SpoolIter(reader_of(bundle, 1, 2))
    assert isinstance(iterator, mx.io.DataIter)
    assert [(d.name, d.shape, d.dtype) for d in iterator.provide_data] == [("pixels", (5, 1, 8, 8), np.float32)]
    assert [(d.name, d.shape, d.dtype) for d in iterator.provide_label] == [("digit", (5,), np.int32)]
    rows, pads = [], []
    for batch in iterator:
        assert batch.data[0].shape == (5, 1, 8, 8) and batch.label[0].dtype == np.int32
        real = 5 - batch.pad
        np.testing.assert_array_equal(batch.data[0].asnumpy()[:real], digits(53)["pixels"][batch.index[:real]])
        assert (batch.index[real:] == -1).all()
        rows += batch.index[:real].tolist()
        pads.append(batch.pad)
    assert pads == [0, 0, 0, 0, 0, 3]
    assert len(rows) == len(set(rows)) == 27
    iterator.close()


def test_a_kept_batch_is_not_overwritten(bundle):
    iterator = SpoolIter(reader_of(bundle))
    first = iterator.next()
    before = first.data[0].asnumpy().copy()
    assert len(list(iterator)) == 5
    np.testing.assert_array_equal(first.data[0].asnumpy(), before)
    iterator.close()


def test_reset_goes_on_to_the_next_epoch_of_the_plan(bundle):
    iterator = SpoolIter(reader_of(bundle))
    epochs = []
    for _ in range(2):
        epochs.append([batch.index.tolist() for batch in iterator])
        iterator.reset()
    iterator.close()
    assert epochs[0] != epochs[1]
    expected = [[b.ids.tolist() for b in reader_of(bundle).batches(epoch)] for epoch in range(2)]
    assert [[i for i in rows if i >= 0] for rows in epochs[1]] == expected[1]
    assert [[i for i in rows if i >= 0] for rows in epochs[0]] == expected[0]


def test_module_fit_takes_the_iterator(tmp_path):
    rows = digits(300)
    rows["digit"] = rows["digit"].astype(np.float32)  # SoftmaxOutput wants them so
    bundle = make_bundle(tmp_path, counts=(150, 150), batch_size=30, arrays=rows)
    iterator = SpoolIter(reader_of(bundle))
    net = mx.sym.FullyConnected(mx.sym.Variable("pixels"), num_hidden=10)
    module = mx.mod.Module(mx.sym.SoftmaxOutput(net, mx.sym.Variable("digit")), ["pixels"], ["digit"])
    mx.random.seed(1)
    module.fit(iterator, num_epoch=8, optimizer_params={"learning_rate": 0.1}, initializer=mx.init.Xavier())
    iterator.reset()
    assert module.score(iterator, "acc")[0][1] > 0.8
    iterator.close()


def test_gluon_batches_are_arrays_and_counts(bundle):
    batches = GluonBatches(reader_of(bundle, 0, 2))
    assert len(batches) == 6
    steps = []
    for batch in batches(epoch=3, first_step=2):
        assert isinstance(batch.inputs[0], mx.nd.NDArray) and batch.inputs[0].dtype == np.float32
        np.testing.assert_array_equal(batch.inputs[0].asnumpy(), batch.rows.inputs[0])
        np.testing.assert_array_equal(batch.labels[0].asnumpy(), batch.rows.labels[0])
        steps.append((batch.rows.epoch, batch.rows.step, batch.rows.global_rows))
    assert steps == [(3, 2, 10), (3, 3, 10), (3, 4, 10), (3, 5, 3)]


def test_a_dtype_without_an_mxnet_array_is_refused(tmp_path):
    arrays = {**digits(20), "digit": np.zeros(20, np.uint32)}
    bundle = make_bundle(tmp_path, counts=(20,), arrays=arrays)
    with pytest.raises(InputError, match=r"'digit' has dtype uint32; MXNet knows .*int32"):
        GluonBatches(reader_of(bundle))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint8", "int8", "int32", "int64", "bool"])
def test_arrays_arrive_as_they_are(dtype):
    source = (np.arange(60) % 7).astype(dtype).reshape(3, 4, 5).transpose(1, 0, 2)
    arrived = to_ndarray(source)
    source_before, source[:] = source.copy(), 0
    assert arrived.dtype == np.dtype(dtype) and arrived.shape == (4, 3, 5)
    np.testing.assert_array_equal(arrived.asnumpy(), source_before)
    assert to_ndarray(np.zeros((2,), dtype)).shape == (2,)


def test_handing_over_a_batch_does_not_wait_for_the_engine():
    wide = mx.nd.ones((1500, 1500))
    for _ in range(30):
        wide = mx.nd.dot(wide, wide) * 0
    start = time.monotonic()
    to_ndarray(np.ones((8, 8), np.float32))
    handed = time.monotonic() - start
    wide.wait_to_read()
    assert handed < (time.monotonic() - start) / 4
