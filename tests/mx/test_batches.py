"""Batches as NDArrays."""

from __future__ import annotations

import time

import mxnet as mx
import numpy as np
import pytest
from role_harness import make_spec

from mxspark.data.dtypes import DTYPES
from mxspark.data.reader import Reader
from mxspark.mx.loop.batches import GluonBatches, to_ndarray


@pytest.fixture
def spec(tmp_path):
    return make_spec(tmp_path, counts=(20, 0, 33), batch_size=10)


def reader_of(spec, rank=0, size=1):
    return Reader(spec.training_data, spec.features, spec.labels, rank, size)


def test_a_kept_batch_is_not_overwritten(spec):
    batches = GluonBatches(reader_of(spec))(epoch=0)
    first = next(batches)
    before = first.inputs[0].asnumpy().copy()
    assert len(list(batches)) == 5
    np.testing.assert_array_equal(first.inputs[0].asnumpy(), before)


def test_gluon_batches_are_arrays_and_counts(spec):
    batches = GluonBatches(reader_of(spec, 0, 2))
    assert len(batches) == 6
    steps = []
    for batch in batches(epoch=3, first_step=2):
        assert isinstance(batch.inputs[0], mx.nd.NDArray) and batch.inputs[0].dtype == np.float32
        np.testing.assert_array_equal(batch.inputs[0].asnumpy(), batch.rows.inputs[0])
        np.testing.assert_array_equal(batch.labels[0].asnumpy(), batch.rows.labels[0])
        steps.append((batch.rows.epoch, batch.rows.step, batch.rows.global_rows))
    assert steps == [(3, 2, 10), (3, 3, 10), (3, 4, 10), (3, 5, 3)]


@pytest.mark.parametrize("dtype", DTYPES)
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
