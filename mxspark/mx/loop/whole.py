"""All rows of validation on every rank, for the metrics that need them at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Optional

import numpy as np

from mxspark.errors import InputError
from mxspark.mx.exchange.base import Exchange
from mxspark.mx.loop.arrays import Array, Arrays, Shapes
from mxspark.mx.loop.metrics import Whole, require_finite
from mxspark.mx.runtime.attribution import training_code

#: Of the rows that one metric needs; a worker has them about four times while they are brought together.
LIMIT_BYTES = 128 * 2**20
_MIB = 2**20


class WholeMetrics:
    """What a rank has of the rows that metrics need at once.

    Parameters
    ----------
    metrics : dict of str to Whole
        By their reported names.
    shapes : Shapes
        How many outputs and labels there are.
    rows : int
        Of all ranks together.

    Raises
    ------
    InputError
        If they would not fit into memory.
    """

    def __init__(self, metrics: Mapping[str, Whole], shapes: Shapes, rows: int) -> None:
        for name, metric in metrics.items():
            _check(name, metric, rows)
        self._metrics = metrics
        self._parts: dict[str, list[Array]] = {}
        self._types = [ord("f")] * (len(shapes.outputs) + len(shapes.labels))
        self.reset()

    def __len__(self) -> int:
        return len(self._metrics)

    def reset(self) -> None:
        """Start again from nothing."""
        self._parts = {name: [np.empty((0, 1 + metric.width))] for name, metric in self._metrics.items()}

    def add(self, ids: Array, outputs: Arrays, labels: Arrays, weights: Optional[Array] = None) -> None:
        """Keep rows.

        Parameters
        ----------
        ids : ndarray of int64, shape (n,)
            Which rows of the data they are.
        outputs, labels : list of ndarray, each of shape (n, …)
            What the network gave, and what it should have.
        weights : ndarray, shape (n,), optional
            What each row counts; without them each counts 1.
        """
        self._types = [ord(array.dtype.char) for array in (*outputs, *labels)]
        counted = np.ones(len(ids)) if weights is None else weights
        for name, metric in self._metrics.items():
            # float64 holds every id that there can be
            self._parts[name].append(np.column_stack([ids, metric.rows(outputs, labels, counted)]))

    def finish(self, exchange: Exchange, of: str) -> dict[str, float]:
        """Return the values over the rows of all ranks, the same bits on every rank; a call of all ranks.

        Raises
        ------
        Diverged
            If one is not finite though it is defined; `of` says which rows, and when.
        """
        if not self._metrics:
            return {}
        # A rank without a row has seen no array; the types are those of one that has.
        rows = sum(len(part) for part in next(iter(self._parts.values())))
        table = exchange.gather(np.array([rows, *self._types], dtype=np.float64))
        counts = table[:, 0].astype(np.int64)
        types = [chr(int(code)) for code in table[np.argmax(counts > 0), 1:]]
        values = {}
        for name, metric in self._metrics.items():
            own = np.concatenate(self._parts.pop(name))
            every = _in_order(exchange, own, counts)
            with training_code():
                values[name] = metric.value(every[:, 1:], types)
            require_finite(name, values[name], every, of)
        self.reset()
        return values


def refuse_without_validation(metrics: Iterable[str]) -> None:
    """Refuse metrics that there are no rows for; a checkpoint could not hold those of training."""
    names = ", ".join(metrics)
    if names:
        raise InputError(
            f"metric {names} is no sum over rows and is worked out from all validation rows at once, and this job has "
            "none: set data.validation, leave it out, or give a function (labels, outputs) of one value a row"
        )


def _in_order(exchange: Exchange, own: Array, counts: Array) -> Array:
    """Return the rows of all ranks by their ids, so that nothing depends on who had them."""
    longest = int(counts.max())
    padded = np.zeros((longest, own.shape[1]))
    padded[: len(own)] = own
    table = exchange.gather(padded.ravel()).reshape(len(counts), longest, own.shape[1])
    every = np.concatenate([part[:count] for part, count in zip(table, counts)])
    ordered: Array = every[np.argsort(every[:, 0], kind="stable")]
    return ordered


def _check(name: str, metric: Whole, rows: int) -> None:
    needed = rows * (1 + metric.width) * 8
    if needed > LIMIT_BYTES:
        raise InputError(
            f"metric {name} needs all {rows:,} validation rows at once in every worker, {1 + metric.width} numbers of "
            f"each: {needed // _MIB:,} MiB, more than the {LIMIT_BYTES // _MIB} MiB there may be: lower "
            "data.validation.fraction, give fewer validation rows, or use a metric that is a sum over rows"
        )
