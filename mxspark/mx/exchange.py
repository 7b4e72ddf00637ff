"""Gradients in, sums out: what a training loop asks of the other workers.

The loop knows only :class:`Exchange`. Here is the kind that goes through MXNet's key-value store (stock ps-lite servers
that add); a kind that sums inside a host first has the same face.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import mxnet as mx
import numpy as np

from mxspark.errors import InternalError, TrainingCodeError

if TYPE_CHECKING:
    from mxnet.gluon import Parameter
    from numpy.typing import NDArray

    Vector = NDArray[np.float64]

_WORDS_OF_DIGEST = 16  # of 16 bits each: whole numbers that float64 adds without rounding


class Exchange(Protocol):
    """What the workers of a group do together. Every rank calls the same methods in the same order."""

    rank: int
    size: int

    def broadcast(self, parameters: Sequence[Parameter]) -> None:
        """Give every rank the values of rank 0; names the parameters all later calls are about."""

    def sum_gradients(self, parameters: Sequence[Parameter]) -> None:
        """Start replacing each gradient by its sum over all ranks; MXNet's engine waits where the result is used."""

    def average(self, parameters: Sequence[Parameter]) -> None:
        """Replace the values of `parameters` by their mean over all ranks."""

    def sum(self, values: Vector) -> Vector:
        """Return the sum over all ranks of a float64 vector, shape (n,), the same bits on every rank."""

    def agree(self, digest: str, moment: str) -> None:
        """Raise if the ranks do not hold the same hexadecimal digest; `moment` says when this was."""

    def close(self) -> None:
        """Leave the group in order; blocks until every rank does."""


class SumThroughTable:
    """Sums and agreements from one collective: every rank learns the vectors of all ranks."""

    rank: int
    size: int

    def gather(self, values: Vector) -> Vector:
        """Return the vectors of all ranks: float64, shape (size, n)."""
        raise NotImplementedError

    def sum(self, values: Vector) -> Vector:
        """Return the sum over all ranks, added in order of rank so that runs repeat bit for bit."""
        total = np.zeros(len(values))
        for row in self.gather(np.asarray(values, dtype=np.float64)):
            total = total + row
        return total

    def agree(self, digest: str, moment: str) -> None:
        """Raise `InternalError` naming the ranks that differ from rank 0."""
        text = digest.ljust(4 * _WORDS_OF_DIGEST, "0")[: 4 * _WORDS_OF_DIGEST]
        words = [float(int(text[at : at + 4], 16)) for at in range(0, len(text), 4)]
        table = self.gather(np.array(words))
        others = [rank for rank in range(self.size) if not np.array_equal(table[rank], table[0])]
        if others:
            raise InternalError(
                f"the ranks hold different parameters {moment}: rank {', '.join(map(str, others))} differ from rank 0. "
                "Please report it; training cannot go on"
            )


class KVStoreExchange(SumThroughTable):
    """Every worker pushes to and pulls from the parameter servers, one key a parameter.

    Parameters
    ----------
    rank, size : int
        What this worker must be; ps-lite's own answer is checked against it.
    """

    # A vector for metrics and digests is added in pieces of this many float64; its key follows those of the parameters.
    PIECE = 256

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
        sparse = [p.name for p in parameters if p._stype != "default" or p._grad_stype != "default"]
        if sparse:
            raise TrainingCodeError(
                f"the parameters {', '.join(sparse)} are sparse or have sparse gradients, which cannot be summed over "
                "workers; create their layers with sparse_grad=False"
            )
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

    def sum_gradients(self, parameters: Sequence[Parameter]) -> None:
        """Push every gradient and pull the sum into it; the last layers' are ready first and go first."""
        if self.size == 1:
            return
        for parameter in reversed(parameters):
            gradient = parameter.grad()
            self._store.pushpull(self._keys[parameter.name], gradient, out=gradient)

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
