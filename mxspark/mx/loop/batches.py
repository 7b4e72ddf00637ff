"""Batches of NDArrays, as MXNet's Module API (:class:`SpoolIter`) and Gluon loops (:class:`GluonBatches`) take them."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import NamedTuple

import mxnet as mx
import numpy as np
from mxnet.base import _LIB, check_call

from mxspark.data.reader import Array, Batch, Prefetch, Reader
from mxspark.errors import InputError

_DTYPES = ("float16", "float32", "float64", "uint8", "int8", "int32", "int64", "bool")


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


def check_dtypes(reader: Reader) -> None:
    """Refuse element types MXNet has no array of."""
    for name, (_, dtype) in reader.rows.layout.items():
        if dtype.name not in _DTYPES:
            known = ", ".join(_DTYPES)
            raise InputError(f"{name!r} has dtype {dtype.name}; MXNet knows {known}: set its dtype in the job's data")


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
        check_dtypes(reader)
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


class SpoolIter(mx.io.DataIter):  # type: ignore[misc]
    """The rows of one rank as an ``mx.io.DataIter``; :meth:`reset` starts the next epoch of the plan.

    Parameters
    ----------
    reader : Reader
        Where batches come from.
    epoch : int
        Epoch the first pass goes through.
    """

    def __init__(self, reader: Reader, epoch: int = 0) -> None:
        super().__init__(reader.local_rows)
        check_dtypes(reader)
        self._reader = reader
        self._epoch = epoch
        self._prefetch = self._start()
        self.provide_data = self._describe(reader.features)
        self.provide_label = self._describe(reader.labels)

    def _describe(self, names: tuple[str, ...]) -> list[mx.io.DataDesc]:
        layouts = [(name, *self._reader.rows.layout[name]) for name in names]
        return [mx.io.DataDesc(name, (self.batch_size, *shape), dtype) for name, shape, dtype in layouts]

    def _start(self) -> Prefetch:
        prefetch = Prefetch(self._reader.batches(self._epoch))
        self._batches = iter(prefetch)
        return prefetch

    def reset(self) -> None:
        """Go on to the next epoch."""
        self.close()
        self._epoch += 1
        self._prefetch = self._start()

    def next(self) -> mx.io.DataBatch:
        """Return the next batch: `pad` rows at its end repeat others, `index` holds row ids, -1 for those."""
        batch = next(self._batches)
        pad = self.batch_size - batch.real_rows
        return mx.io.DataBatch(
            data=[to_ndarray(array) for array in batch.inputs],
            label=[to_ndarray(array) for array in batch.labels],
            pad=pad,
            index=np.concatenate([batch.ids, np.full(pad, -1, dtype=np.int64)]),
            provide_data=self.provide_data,
            provide_label=self.provide_label,
        )

    def close(self) -> None:
        """Stop reading ahead."""
        self._prefetch.close()
