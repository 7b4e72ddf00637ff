"""Labels of which a row has several distributions over classes: each must add up to 1 along the axis of the classes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from mxspark.data.dataset import DataSet
from mxspark.data.reader import Array, SpooledRows
from mxspark.errors import DataError
from mxspark.job import losses
from mxspark.job.spec import Component, WorkerSpec
from mxspark.mx.model.ids import GetOn, data_sets

_VALUES_AT_A_TIME = 1 << 22


def check(spec: WorkerSpec, loss: Component, output: Sequence[int], rank: int, size: int, get_on: GetOn) -> None:
    """Refuse distributions that are none; of those of one a row the spool has the sums.

    Parameters
    ----------
    loss : Component
        By its name, also where it is given as the object of MXNet's that has one.
    output : sequence of int
        Shape of the network's output for one batch, which the label has too, if not flat.

    Raises
    ------
    DataError
        With how many rows of all there are, and what to do.
    """
    takes = losses.takes(loss)
    seen = losses.seen(spec.labels[0].name, spec.training_data.spool.arrays)
    if takes is None or not takes.is_distribution or (seen is not None and len(seen.shape) == 1 and len(output) == 2):
        return
    axis = int(loss.options.get("axis", -1)) % len(output)
    for data in data_sets(spec):
        total = data.plan.rows_in_all
        if len(_look(spec, data, range(total * rank // size, total * (rank + 1) // size), output, axis, get_on)):
            wrong = _look(spec, data, range(total), output, axis, get_on)
            raise DataError(
                f"label {spec.labels[0].name!r} has {len(wrong):,} of {total:,} rows whose values along axis {axis}, "
                f"that of the classes, do not add up to 1, but to {wrong[0]:g}, and training.loss {loss.name} takes "
                "one probability a class: divide them by their sum, set the axis of the loss to that of the classes, "
                "or set training.loss: sigmoid_binary_cross_entropy for classes of which a row may have several"
            )


def _look(spec: WorkerSpec, data: DataSet, rows: range, output: Sequence[int], axis: int, get_on: GetOn) -> Array:
    """Return a sum other than 1 of each of these rows that has one."""
    name, found = spec.labels[0].name, [np.zeros(0)]
    spooled = SpooledRows(data, [name], spec.mapped_bytes)
    step = max(1, _VALUES_AT_A_TIME // math.prod(output[1:]))
    for start in range(rows.start, rows.stop, step):
        places = np.arange(start, min(start + step, rows.stop), dtype=np.int64)
        found.append(wrong_sums(spooled.gather(places, [name])[name].reshape(-1, *output[1:]), axis))
        get_on(int(places[-1]) + 1 - rows.start, len(rows))
    return np.concatenate(found)


def wrong_sums(labels: Array, axis: int) -> Array:
    """Return a sum along an axis that is not 1 of each row that has one; places of zeros alone are left out.

    A step that only fills up a sequence is of no class, and adds nothing to the loss. A row has others beside it.

    >>> wrong_sums(np.array([[[0.5, 0.5], [0.0, 0.0]], [[0.5, 0.5], [0.5, 0.25]]]), axis=2)
    array([0.75])
    """
    sums = labels.sum(axis=axis, dtype=np.float64).reshape(len(labels), -1)
    is_filling = (sums == 0) & sums.any(axis=1, keepdims=True)
    is_wrong = (np.abs(sums - 1) > losses.tolerance(labels.shape[axis])) & ~is_filling
    rows = np.flatnonzero(is_wrong.any(axis=1))
    wrong: Array = sums[rows, is_wrong[rows].argmax(axis=1)]
    return wrong
