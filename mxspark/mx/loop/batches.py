"""Batches of NDArrays, as Gluon loops take them."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import NamedTuple

import mxnet as mx
import numpy as np
from mxnet.base import _LIB, check_call

from mxspark.data.prefetch import Prefetch
from mxspark.data.reader import Array, Batch, Reader


def to_ndarray(array: Array) -> mx.nd.NDArray:
    """Return a fresh NDArray on the CPU with the values and the dtype of `array`.

    MXNet's own copy waits until its engine has nothing left to do, and the engine would then wait for us; an NDArray
    over numpy's memory makes the engine wait for the interpreter when it is freed. Nobody else knows the fresh array
    yet, so it is filled through its address.
    """
    source = np.ascontiguousarray(array)
    fresh = mx.nd.empty(array.shape, dtype=array.dtype)
    address = ctypes.c_void_p()
    check_call(_LIB.MXNDArrayGetData(fresh.handle, ctypes.byref(address)))
    ctypes.memmove(address, source.ctypes.data, source.nbytes)
    return fresh


class GluonBatch(NamedTuple):
    """One batch of a Gluon loop.

    Attributes
    ----------
    inputs, labels : list of NDArray
        Shape ``(local_rows, *row shape)``.
    rows : Batch
        The same as numpy arrays, with the numbers of real rows.
    """

    inputs: list[mx.nd.NDArray]
    labels: list[mx.nd.NDArray]
    rows: Batch


def to_gluon(batch: Batch) -> GluonBatch:
    """Return a batch as NDArrays."""
    return GluonBatch([to_ndarray(a) for a in batch.inputs], [to_ndarray(a) for a in batch.labels], batch)


class GluonBatches:
    """Epochs of batches for a hand-written Gluon loop.

    Examples
    --------
    >>> for batch in batches(epoch=0):                          # doctest: +SKIP
    ...     with autograd.record():
    ...         loss = loss_of(net(*batch.inputs), *batch.labels)
    """

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.waited_s = 0.0

    def __len__(self) -> int:
        return self.reader.plan.steps

    def __call__(self, epoch: int, first_step: int = 0) -> Iterator[GluonBatch]:
        """Yield the batches of `epoch` from `first_step` on, one read ahead."""
        return self.through(range(epoch, epoch + 1), first_step)

    def through(self, epochs: range, first_step: int = 0) -> Iterator[GluonBatch]:
        """Yield the batches of several epochs; the first of an epoch is read while the last of the one before runs."""
        with Prefetch(self.reader.all_batches(epochs, first_step)) as prefetch:
            before = self.waited_s
            for batch in prefetch:
                self.waited_s = before + prefetch.waited_s
                yield to_gluon(batch)
