"""Gradients in, updated values out: what a training loop asks of the other workers.

The loop knows only :class:`Exchange`. `kvstore` goes through MXNet's key-value store (stock ps-lite servers
that add), `hierarchical` sums inside a host first, and there divides the update over the workers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Optional, Protocol

import numpy as np

from mxspark.errors import InternalError, TrainingCodeError
from mxspark.mx.runtime.attribution import training_code

if TYPE_CHECKING:
    from mxnet.gluon import Parameter
    from numpy.typing import NDArray

    from mxspark.mx.state.optimizer import Updater

    Vector = NDArray[np.float64]

_WORDS_OF_DIGEST = 16  # of 16 bits each: whole numbers that float64 adds without rounding


class Exchange(Protocol):
    """What the workers of a group do together. Every rank calls the same methods in the same order.

    Attributes
    ----------
    waited_s : float or None
        Seconds this rank has waited for others; None where sums overlap with computing, so that it cannot be told.
    """

    rank: int
    size: int

    @property
    def waited_s(self) -> Optional[float]:
        """As above."""

    def begin(self, parameters: Sequence[Parameter], updater: Updater) -> None:
        """Give every rank the values of rank 0; all later steps are of these parameters, by this updater.

        `parameters` are all that the updater has, in its order. It has been restored before.
        """

    def step(self, rows: int) -> Sequence[Any]:
        """Update all parameters by the sums over all ranks of their gradients, each one of `rows` rows.

        Returns
        -------
        sequence of NDArray
            Sums of the parameters that take a gradient, in order; they hold until the next call. MXNet's engine may
            still be at work on them and on the update; it waits where they are used.
        """

    def average(self, parameters: Sequence[Parameter]) -> None:
        """Replace the values of `parameters` by their mean over all ranks."""

    def sum(self, values: Vector) -> Vector:
        """Return the sum over all ranks of a float64 vector, shape (n,), the same bits on every rank."""

    def gather(self, values: Vector) -> Vector:
        """Return the vectors of all ranks in order: float64, shape (size, n); all give as many values."""

    def agree(self, digest: str, moment: str) -> None:
        """Raise if the ranks do not hold the same hexadecimal digest; `moment` says when this was."""

    def close(self) -> None:
        """Leave the group in order; blocks until every rank does."""


def refuse_sparse(parameters: Sequence[Parameter]) -> None:
    """Raise `TrainingCodeError` naming parameters that no exchange can sum."""
    sparse = [p.name for p in parameters if p._stype != "default" or p._grad_stype != "default"]
    if sparse:
        raise TrainingCodeError(
            f"the parameters {', '.join(sparse)} are sparse or have sparse gradients, which cannot be summed over "
            "workers; create their layers with sparse_grad=False"
        )


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


class EachUpdates(SumThroughTable):
    """A step in which every rank applies the same update to the same sums."""

    def begin(self, parameters: Sequence[Parameter], updater: Updater) -> None:
        """Give every rank the values of rank 0."""
        self._updater = updater
        self._trained = [parameter for parameter in parameters if parameter.grad_req != "null"]
        self.broadcast(parameters)

    def step(self, rows: int) -> Sequence[Any]:
        """Update all parameters by the sums over all ranks of their gradients."""
        sums = self.sum_gradients(self._trained)
        with training_code():
            self._updater.update(rows, sums)
        return sums

    def broadcast(self, parameters: Sequence[Parameter]) -> None:
        """Give every rank the values of rank 0."""
        raise NotImplementedError

    def sum_gradients(self, parameters: Sequence[Parameter]) -> Sequence[Any]:
        """Return the sum over all ranks of each parameter's gradient."""
        raise NotImplementedError
