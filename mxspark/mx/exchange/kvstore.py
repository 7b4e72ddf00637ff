"""The exchange through MXNet's key-value store: every worker is one of ps-lite's, servers add."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import mxnet as mx
import numpy as np

from mxspark.errors import InternalError
from mxspark.mx.exchange.base import EachUpdates, refuse_sparse

if TYPE_CHECKING:
    from mxnet.gluon import Parameter

    from mxspark.mx.exchange.base import Vector


class KVStoreExchange(EachUpdates):
    """Every worker pushes to and pulls from the parameter servers, one key a parameter.

    Parameters
    ----------
    rank, size : int
        What this worker must be; ps-lite's own answer is checked against it.
    """

    # A vector for metrics and digests is added in pieces of this many float64; its key follows those of the parameters.
    PIECE = 256

    waited_s = None

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size = rank, size
        self._store: Any = mx.kv.create("dist_sync")
        if (self._store.rank, self._store.num_workers) != (rank, size):
            raise InternalError(
                f"ps-lite made this worker rank {self._store.rank} of {self._store.num_workers}, "
                f"it must be rank {rank} of {size}"
            )
        self._keys: dict[str, int] = {}

    def broadcast(self, parameters: Sequence[Parameter]) -> None:
        """Give every rank the values of rank 0, through the servers."""
        refuse_sparse(parameters)
        self._keys = {p.name: key for key, p in enumerate(parameters)}
        piece = mx.nd.zeros((self.PIECE,), dtype="float64")
        # A fresh copy: a parameter that went through an inference pass may be in oneDNN's own layout, and its push
        # would fail without a word.
        values = [mx.nd.array(p.data().asnumpy(), dtype=p.dtype) for p in parameters]
        self._store.init(list(range(len(values) + 1)), [*values, piece])
        if self.size == 1:
            return
        for key, (parameter, value) in enumerate(zip(parameters, values)):
            self._store.pull(key, value)
            parameter.set_data(value)

    def sum_gradients(self, parameters: Sequence[Parameter]) -> Sequence[Any]:
        """Push every gradient and pull the sum into it."""
        gradients = [parameter.grad() for parameter in parameters]
        self.sum_arrays(parameters, gradients)
        return gradients

    def sum_arrays(self, parameters: Sequence[Parameter], arrays: Sequence[Any]) -> None:
        """Replace arrays of the shapes of `parameters` by their sums; the last layers' are ready first and go first."""
        if self.size > 1:
            for parameter, array in zip(reversed(parameters), reversed(arrays)):
                self._store.pushpull(self._keys[parameter.name], array, out=array)

    def average(self, parameters: Sequence[Parameter]) -> None:
        """Replace values by their mean over all ranks."""
        if self.size == 1:
            return
        for parameter in parameters:
            value = parameter.data()
            self._store.pushpull(self._keys[parameter.name], value, out=value)
            value /= self.size

    def gather(self, values: Vector) -> Vector:
        """Return the vectors of all ranks: each adds its own row to zeros."""
        table = np.zeros((self.size, len(values)))
        table[self.rank] = values
        return self.sum_table(table)

    def sum_table(self, table: Vector) -> Vector:
        """Return the sum over all ranks of a float64 array, exact where each place is zero on all ranks but one."""
        if self.size == 1:
            return table
        flat = np.zeros(-(-table.size // self.PIECE) * self.PIECE)
        flat[: table.size] = table.ravel()
        for piece in flat.reshape(-1, self.PIECE):
            piece[:] = self._sum_piece(piece)
        return flat[: table.size].reshape(table.shape)

    def _sum_piece(self, piece: Vector) -> Vector:
        """Add one piece, to the end: a server counts requests, so two in flight for one key could be added together."""
        array = mx.nd.array(piece, dtype="float64")
        self._store.pushpull(len(self._keys), array, out=array)
        added: Vector = array.asnumpy()
        return added

    def close(self) -> None:
        """Let the store go: its end is a barrier of all workers, then rank 0 stops the servers."""
        mx.nd.waitall()
        store, self._store = self._store, None
        del store
